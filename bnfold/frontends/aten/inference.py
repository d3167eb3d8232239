"""Reading a program as an inference program although its BatchNorms say training."""

from bnfold.frontends.aten.graph import AtenGraph


def assume_inference(graph: AtenGraph) -> bool:
    """Turn off the training mode of every batch_norm that has running statistics.

    Forms that return new statistics, as training programs in core ATen have them, stay what they are.

    Returns:
        Whether anything changed.
    """
    training = [
        node
        for node in graph.nodes
        if node.is_batch_norm
        and node.arguments.get("training") is True
        and node.arguments.get("running_mean") is not None
        and node.arguments.get("running_var") is not None
        and not any(value.readers or value.is_output for value in node.outputs[1:] if value is not None)
    ]
    for node in training:
        graph.set_argument(node, ("training", None), False)
    return bool(training)
