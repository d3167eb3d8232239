"""Hostile files of torch.export.save."""

import io
import json
import pickle
import zipfile

import torch

from tests.attacks.context import Attack, Bomb, Context, everywhere, named, renamed, with_json
from tests.attacks.zips import Raw, archive, two_in_one

ATTACKS: dict[str, Attack] = {}


def attack(function=None, *, fires=False):
    """Register an attack under its name."""
    if function is None:
        return lambda one: attack(one, fires=fires)
    ATTACKS[function.__name__] = Attack(function, fires)
    return function


def root(parts):
    return next(iter(parts)).partition("/")[0]


def spoiled_weight(context, path, data, fires=True):
    """A weight that is unpickled, from an entry that the file names."""
    parts = context.program

    def change(tree):
        weight = next(iter(tree["config"].values()))
        weight["path_name"], weight["use_pickle"] = path, fires

    parts = with_json(parts, "model_weights_config.json", change)
    return archive({**parts, f"{root(parts)}/data/weights/{path}": data})


def spoiled_constant(context, path, data):
    parts = context.program

    def change(tree):
        tree["config"]["evil"] = {"path_name": path, "is_param": False, "use_pickle": True, "tensor_meta": None}

    parts = with_json(parts, "model_constants_config.json", change)
    return archive({**parts, f"{root(parts)}/data/constants/{path}": data})


def with_entry(context, ending, data):
    parts = context.program
    return archive({**parts, named(parts, ending): data})


def with_program(context, change):
    return archive(with_json(context.program, "models/model.json", change))


# Pickles


@attack(fires=True)
def pickle_in_the_sample_inputs(context: Context):
    return with_entry(context, "sample_inputs/model.pt", context.bomb)


@attack(fires=True)
def bare_pickle_in_the_sample_inputs(context: Context):
    return with_entry(context, "sample_inputs/model.pt", context.bare_bomb)


@attack(fires=True)
def flagged_weight(context: Context):
    return spoiled_weight(context, "weight_0", context.bomb)


@attack(fires=True)
def flagged_weight_in_a_folder(context: Context):
    return spoiled_weight(context, "deeper/weight_0", context.bomb)


@attack
def flagged_weight_by_a_dot(context: Context):
    return spoiled_weight(context, "./weight_99", context.bomb)


@attack
def flagged_weight_by_two_dots(context: Context):
    return spoiled_weight(context, "../weights/weight_99", context.bomb)


@attack(fires=True)
def flagged_weight_under_another_name(context: Context):
    return spoiled_weight(context, "readme.txt", context.bomb)


@attack
def flagged_weight_outside_its_folder(context: Context):
    return spoiled_weight(context, "/weight_0", context.bomb)


@attack(fires=True)
def flagged_constant(context: Context):
    return spoiled_constant(context, "tensor_0", context.bomb)


@attack(fires=True)
def opaque_object(context: Context):
    return spoiled_constant(context, "opaque_obj_0", context.bare_bomb)


@attack
def custom_object(context: Context):
    return spoiled_constant(context, "custom_obj_0", context.bomb)


@attack(fires=True)
def legacy_weights(context: Context):
    parts = context.program
    return archive({**parts, f"{root(parts)}/data/weights/model.pt": context.bomb})


@attack(fires=True)
def legacy_constants(context: Context):
    parts = context.program
    return archive({**parts, f"{root(parts)}/data/constants/model.pt": context.bomb})


@attack(fires=True)
def old_layout(context: Context):
    parts = context.program
    old = {"version": b"8.20", "serialized_exported_program.json": parts[named(parts, "models/model.json")]}
    for name in ("state_dict", "constants", "example_inputs"):
        old[f"serialized_{name}.pt"] = context.bomb
    return archive(old)


def second_model(context, name):
    parts = context.program
    folder = root(parts)
    parts[f"{folder}/models/{name}"] = parts[named(parts, "models/model.json")]
    twin = name[: -len(".json")]
    for kind in ("weights", "constants"):
        parts[f"{folder}/data/{kind}/{twin}_{kind}_config.json"] = b'{"config": {}}'
    return archive({**parts, f"{folder}/data/sample_inputs/{twin}.pt": context.bomb})


@attack(fires=True)
def second_model_with_a_pickle(context: Context):
    return second_model(context, "other.json")


@attack(fires=True)
def second_model_with_another_suffix(context: Context):
    return second_model(context, "other.jsonx"[:-6] + ".JSON"[:5])


@attack(fires=True)
def second_model_without_a_suffix(context: Context):
    return second_model(context, "modelsnojson")


def pickled(pieces):
    """A file of torch.save with another pickle in it."""
    buffer = io.BytesIO()
    torch.save((torch.ones(4), {}), buffer)
    with zipfile.ZipFile(buffer) as saved:
        parts = {name: saved.read(name) for name in saved.namelist()}
    return archive({**parts, named(parts, "data.pkl"): pieces})


@attack(fires=True)
def pickle_of_protocol_four(context: Context):
    return with_entry(context, "sample_inputs/model.pt", pickled(pickle.dumps(Bomb(context.mark), 4)))


@attack
def pickle_that_names_a_function_of_torch(context: Context):
    code = b"\x80\x02ctorch.hub\n_load_local\n(X\x01\x00\x00\x00.X\x01\x00\x00\x00xtR."
    return with_entry(context, "sample_inputs/model.pt", pickled(code))


@attack
def pickle_by_extension_code(context: Context):
    return with_entry(context, "sample_inputs/model.pt", pickled(b"\x80\x02\x82\x01."))


@attack
def pickle_of_an_instance(context: Context):
    return with_entry(context, "sample_inputs/model.pt", pickled(b"(S'x'\nios\nsystem\n."))


@attack
def pickle_that_holds_itself(context: Context):
    return with_entry(context, "sample_inputs/model.pt", pickled(b"\x80\x02]q\x00h\x00a."))


@attack
def pickle_of_a_billion_laughs(context: Context):
    return with_entry(context, "sample_inputs/model.pt", pickled(b"\x80\x02]" + b"q\x00h\x00h\x00\x86" * 60 + b"."))


@attack
def pickle_with_a_large_memo(context: Context):
    return with_entry(context, "sample_inputs/model.pt", pickled(b"\x80\x02}r\xff\xff\xff\x7f."))


@attack
def pickle_nested_deep(context: Context):
    return with_entry(context, "sample_inputs/model.pt", pickled(b"\x80\x02]" + b"\x85" * 100_000 + b"."))


@attack
def short_storage_in_the_sample_inputs(context: Context):
    buffer = io.BytesIO()
    torch.save((torch.ones(1000), {}), buffer)
    with zipfile.ZipFile(buffer) as saved:
        parts = {name: saved.read(name) for name in saved.namelist()}
    return with_entry(context, "sample_inputs/model.pt", archive({**parts, named(parts, "data/0"): b"\0" * 16}))


# Zips


@attack(fires=True)
def two_archives_in_one(context: Context):
    evil = {**context.program, named(context.program, "sample_inputs/model.pt"): context.bomb}
    return two_in_one(context.program, evil)


@attack
def an_archive_before_another(context: Context):
    evil = {**context.program, named(context.program, "sample_inputs/model.pt"): context.bomb}
    return archive(evil) + archive(context.program)


@attack
def an_archive_behind_another(context: Context):
    evil = {**context.program, named(context.program, "sample_inputs/model.pt"): context.bomb}
    return archive(context.program, comment=archive(evil))


@attack
def bytes_behind_the_end(context: Context):
    return archive(context.program) + b"\0"


@attack
def two_names_for_one_entry(context: Context):
    parts = [Raw(name, data) for name, data in context.program.items()]
    parts[3].local_name = parts[3].name.replace("weight_3", "weight_9")
    return archive(parts)


@attack
def two_sizes_for_one_entry(context: Context):
    parts = [Raw(name, data) for name, data in context.program.items()]
    parts[0].local_size = 1
    return archive(parts)


@attack
def entries_that_overlap(context: Context):
    parts = [Raw(name, data) for name, data in context.program.items()]
    parts[1].offset = 0
    return archive(parts)


@attack
def wrong_checksum(context: Context):
    parts = [Raw(name, data) for name, data in context.program.items()]
    parts[0].crc = parts[0].local_crc = 1
    return archive(parts)


@attack
def encrypted(context: Context):
    parts = [Raw(name, data) for name, data in context.program.items()]
    parts[0].flags |= 1
    return archive(parts)


@attack
def a_name_of_its_own_in_the_extra_field(context: Context):
    parts = [Raw(name, data) for name, data in context.program.items()]
    parts[0].extra = b"\x75\x70\x04\x00evil"
    return archive(parts)


@attack
def packed_by_a_rare_method(context: Context):
    parts = [Raw(name, data) for name, data in context.program.items()]
    parts[0].method = 12
    return archive(parts)


@attack
def one_name_twice(context: Context):
    parts = [Raw(name, data) for name, data in context.program.items()]
    return archive([Raw(named(context.program, "sample_inputs/model.pt"), context.bomb), *parts])


@attack
def one_name_in_another_case(context: Context):
    twin = named(context.program, "sample_inputs/model.pt").upper()
    return archive([Raw(twin, context.bomb), *(Raw(name, data) for name, data in context.program.items())])


def added(name):
    def make(context):
        return archive({**context.program, name: b"x"})

    return make


for index, name in enumerate(
    (
        "/etc/evil",
        "../evil",
        "{root}/../evil",
        "{root}/./data/weights/weight_0",
        "{root}//data/weights/weight_0",
        "{root}\\data\\weights\\weight_0",
        "{root}/data/weights/weight_0\n",
        "{root}/data/weights/",
        "other/data/weights/weight_0",
        "{root}/data/aotinductor/model/model.so",
        "{root}/data/executorch/model.pte",
        "{root}/evil.py",
        "{root}/data/weights/ｗeight_0",
    )
):
    ATTACKS[f"odd_entry_{index}"] = Attack(
        lambda context, name=name: added(name.replace("{root}", root(context.program)))(context)
    )


@attack
def json_that_unpacks_to_much(context: Context):
    parts = [Raw(name, data) for name, data in context.program.items()]
    model = next(part for part in parts if part.name.endswith("models/model.json"))
    model.data, model.deflate = b"[" * 50_000_000, True
    return archive(parts)


@attack
def wide_json_that_unpacks_to_little(context: Context):
    parts = [Raw(name, data) for name, data in context.program.items()]
    model = next(part for part in parts if part.name.endswith("models/model.json"))
    noise = torch.randint(0, 2, (1_600_000,), generator=torch.Generator().manual_seed(0)).tolist()
    model.data, model.deflate = b"[" + b",".join(b"[]" if bit else b"{}" for bit in noise) + b"]", True
    return archive(parts)


@attack
def weights_that_unpack_to_much(context: Context):
    parts = [Raw(name, data) for name, data in context.program.items()]
    parts[0].data, parts[0].deflate = bytes(50_000_000), True
    return archive(parts)


# Names that become Python source


@attack(fires=True)
def code_in_the_name_of_a_parameter(context: Context):
    evil = f'0.wei"+str({context.code})+"ght'
    return archive({name: renamed(data, "0.weight", evil) for name, data in context.program.items()})


@attack(fires=True)
def code_in_the_name_of_an_argument(context: Context):
    parts = context.program
    model = named(parts, "models/model.json")
    tree = json.loads(parts[model])
    old = tree["graph_module"]["signature"]["input_specs"][-1]["user_input"]["arg"]["as_tensor"]["name"]
    new = json.dumps(f"{old}={context.code}")
    for form in ('{"name": %s}', '%s: {"dtype"'):
        parts[model] = parts[model].replace((form % json.dumps(old)).encode(), (form % new).encode())
    return archive(parts)


@attack
def code_in_the_names_of_the_arguments_of_forward(context: Context):
    return with_program(context, lambda tree: everywhere(tree, "forward_arg_names", [f"x={context.code}"]))


@attack
def code_in_the_name_of_a_node(context: Context):
    def change(tree):
        tree["graph_module"]["graph"]["nodes"][0]["name"] = f"x = {context.code}"

    return with_program(context, change)


@attack
def code_in_the_name_of_an_operators_argument(context: Context):
    def change(tree):
        tree["graph_module"]["graph"]["nodes"][0]["inputs"][0]["name"] = f"x={context.code}"

    return with_program(context, change)


@attack
def code_in_the_name_of_an_output(context: Context):
    def change(tree):
        tree["graph_module"]["graph"]["outputs"][0]["as_tensor"]["name"] = f"y); {context.code}"

    return with_program(context, change)


@attack
def code_in_the_path_of_a_module(context: Context):
    def change(tree):
        tree["graph_module"]["module_call_graph"][1]["fqn"] = f'0"+str({context.code})+"'

    return with_program(context, change)


# Types that are imported by name


def treespec(kind, argument_context):
    leaf = {"type": None, "context": None, "children_spec": []}
    holder = {"type": kind, "context": argument_context, "children_spec": [leaf]}
    arguments = {"type": "builtins.tuple", "context": "null", "children_spec": [holder]}
    keywords = {"type": "builtins.dict", "context": "[]", "children_spec": []}
    return json.dumps([1, {"type": "builtins.tuple", "context": "null", "children_spec": [arguments, keywords]}])


def nested_as(kind, argument_context):
    def make(context):
        return with_program(context, lambda tree: everywhere(tree, "in_spec", treespec(kind, argument_context)))

    return make


ENUM = json.dumps([{"__enum__": True, "fqn": "this:x", "name": "x"}])
FACTORY = {"default_factory_module": "this", "default_factory_name": "c", "dict_context": ["a"]}
for name, kind, argument_context in (
    ("enumeration", "builtins.dict", ENUM),
    ("enumeration_in_an_ordered_dict", "collections.OrderedDict", ENUM),
    ("factory_of_a_defaultdict", "collections.defaultdict", FACTORY),
    ("factory_out_of_builtins", "collections.defaultdict", {**FACTORY, "default_factory_module": "builtins"}),
    ("enumeration_in_a_defaultdict", "collections.defaultdict", {**FACTORY, "dict_context": json.loads(ENUM)}),
    ("type_of_another_package", "transformers.cache_utils.DynamicCache", "[]"),
    ("function_of_torch", "NO_SERIALIZED_TYPE_NAME_FOUND", "[]"),
    ("namedtuple_of_code", "collections.namedtuple", "__import__('os')"),
):
    ATTACKS[f"imports_by_name_{name}"] = Attack(nested_as(kind, argument_context))


@attack
def code_in_the_name_of_a_keyword(context: Context):
    leaf = {"type": None, "context": None, "children_spec": []}
    keys = json.dumps([f"x={context.code}"])
    arguments = {"type": "builtins.tuple", "context": "null", "children_spec": []}
    keywords = {"type": "builtins.dict", "context": keys, "children_spec": [leaf]}
    spec = json.dumps([1, {"type": "builtins.tuple", "context": "null", "children_spec": [arguments, keywords]}])
    return with_program(context, lambda tree: everywhere(tree, "in_spec", spec))


# Expressions


def sized(text, fires=False):
    return Attack(
        lambda context: with_program(
            context, lambda tree: everywhere(tree, "expr_str", text.replace("CODE", context.code))
        ),
        fires,
    )


TOWER = "Integer(9)"
for _ in range(5):
    TOWER = f"Pow(Integer(9), {TOWER})"
for name, text, fires in (
    ("plain", "CODE", True),
    ("in_a_size", "Add(Symbol('s77', positive=True, integer=True), len(str(CODE)))", True),
    ("by_attributes", "().__class__.__base__.__subclasses__()", False),
    ("in_an_assumption", "Symbol('s77', positive=[CODE])", True),
    ("by_a_lambda", "(lambda: CODE)()", True),
    ("in_a_comprehension", "len([CODE for s0 in (1,)])", False),
    ("in_a_formatted_text", "Symbol(f'{CODE}')", False),
    ("tower_of_powers", TOWER, False),
    ("tower_of_operators", "9**9**9**9**9", False),
    ("power_of_a_symbol", "Pow(Integer(2), Symbol('s77', positive=True, integer=True))", False),
    ("shift", "1 << 10**12", False),
    ("product_of_sums", "*".join(f"(s0 + {index})" for index in range(40)), False),
    ("long", "+".join(["s0"] * 5_000), False),
    ("deep", "(" * 5_000 + "s0" + ")" * 5_000, False),
    ("large_number", "9" * 4_000, False),
    ("symbol_of_a_distance", "Symbol('u1000000000000', integer=True)", False),
    ("list", "[s0, s1]", False),
    ("function_of_sympy", "factorial(Integer(10000000))", False),
):
    ATTACKS[f"expression_{name}"] = sized(text, fires)


@attack
def range_of_a_distance(context: Context):
    def change(tree):
        tree["range_constraints"]["u1000000000000"] = {"min_val": 0, "max_val": 10}

    return with_program(context, change)


def guarded(text, fires=False):
    return Attack(
        lambda context: with_program(
            context, lambda tree: tree.update(guards_code=[text.replace("CODE", context.code)])
        ),
        fires,
    )


for name, text, fires in (
    ("plain", "CODE", True),
    ("behind_a_quote", "1 == '\"); CODE #'", False),
    ("by_attributes", "L['x'].__class__", False),
    ("by_a_method", "L['x'].register_hook(CODE)", False),
    ("power", "9 ** 9 ** 9 >= L['x'].size()[0]", False),
    ("two", "1; CODE", False),
):
    ATTACKS[f"guard_{name}"] = guarded(text, fires)


# Operators


def calling(target):
    def change(tree):
        tree["graph_module"]["graph"]["nodes"][0]["target"] = target

    return Attack(lambda context: with_program(context, change))


for target in (
    "torch.serialization.os.system",
    "torch.hub.load",
    "torch.load",
    "torch.ops.aten.from_file.default",
    "torch.ops.aten.save.default",
    "torch.ops.c10d.send.default",
    "torch.ops.debugprims.load_tensor.default",
    "torch.ops.mkldnn.data_ptr.default",
    "torch.ops.inductor._reinterpret_tensor.default",
    "torch.ops.higher_order.triton_kernel_wrapper_functional",
    "torch.ops.higher_order.print",
    "torch.ops.mine.op.default",
    "torch.ops.aten.conv2d.default.__globals__",
    "torch.ops.load_library",
    "torch.ops.aten.conv2d",
    "_operator.methodcaller",
    "_operator.__builtins__",
    "math.__loader__.load_module",
    "#aoti:op",
    "os.system",
    "",
):
    ATTACKS[f"calls_{target}"] = calling(target)


@attack
def operator_as_an_argument(context: Context):
    def change(tree):
        tree["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"] = {"as_operator": "torch.serialization.os.system"}

    return with_program(context, change)


# Structure


for name, ending, tree in (
    ("config_is_a_list", "model_weights_config.json", []),
    ("config_is_a_text", "model_weights_config.json", "x"),
    ("config_of_lists", "model_weights_config.json", {"config": {"0.weight": []}}),
    ("constants_are_null", "model_constants_config.json", None),
    ("constants_without_config", "model_constants_config.json", {}),
    ("program_is_a_list", "models/model.json", []),
    ("program_is_empty", "models/model.json", {}),
):
    ATTACKS[name] = Attack(
        lambda context, ending=ending, tree=tree: with_entry(context, ending, json.dumps(tree).encode())
    )


def set_at(*keys, value):
    """Something of the program replaced."""

    def change(tree):
        for key in keys[:-1]:
            tree = tree[key]
        tree[keys[-1]] = value

    return Attack(lambda context: with_program(context, change))


NODE = ("graph_module", "graph", "nodes", 0)


@attack
def more_calls_than_memory(context: Context):
    def change(tree):
        nodes = tree["graph_module"]["graph"]["nodes"]
        nodes += [{**nodes[0], "inputs": [], "outputs": [], "metadata": {}}] * 60_000

    return with_program(context, change)


ATTACKS |= {
    "unknown_key": set_at("evil", value=1),
    "number_for_a_text": set_at(*NODE, "target", value=7),
    "object_for_a_number": set_at(*NODE, "inputs", 0, "arg", value={"as_float": {}}),
    "object_for_a_device": set_at(*NODE, "inputs", 0, "arg", value={"as_device": {"type": {}, "index": None}}),
    "object_for_a_dialect": set_at("verifiers", value=[{}]),
    "object_for_a_condition": set_at("guards_code", value=[{}]),
    "object_for_a_target": set_at(*NODE, "target", value=[]),
    "object_for_a_nesting": set_at("graph_module", "module_call_graph", 0, "signature", "in_spec", value={}),
    "no_nodes": set_at("graph_module", "graph", value={"inputs": []}),
    "text_for_a_list": set_at("graph_module", "graph", "nodes", value="x"),
    "two_kinds_at_once": set_at(*NODE, "inputs", 0, "arg", value={"as_int": 1, "as_bool": True}),
    "unknown_kind_of_argument": set_at(*NODE, "inputs", 0, "arg", value={"as_code": "x"}),
    "integer_of_a_thousand_bits": set_at(*NODE, "inputs", 0, "arg", value={"as_int": 2**1000}),
    "truth_for_a_number": set_at(*NODE, "inputs", 0, "arg", value={"as_int": True}),
    "unknown_device": set_at(*NODE, "inputs", 0, "arg", value={"as_device": {"type": "x:y", "index": None}}),
    "unknown_type_of_numbers": set_at(*NODE, "inputs", 0, "arg", value={"as_scalar_type": 99}),
    "unknown_verifier": set_at("verifiers", value=["evil"]),
    "deep_json": Attack(lambda context: with_entry(context, "models/model.json", b"[" * 100_000)),
    "deep_json_that_ends": Attack(lambda context: with_entry(context, "models/model.json", b"[" * 900 + b"]" * 900)),
    "not_json": Attack(lambda context: with_entry(context, "models/model.json", b"{")),
    "another_version": Attack(lambda context: with_entry(context, "archive_version", b"9" * 5_000)),
    "big_endian": Attack(lambda context: with_entry(context, "byteorder", b"big")),
}


# Weights that are not there


def weighing(change):
    def make(context):
        parts = with_json(
            context.program,
            "model_weights_config.json",
            lambda tree: change(next(iter(tree["config"].values()))["tensor_meta"]),
        )
        return archive(parts)

    return Attack(make)


ATTACKS |= {
    "weight_shorter_than_its_tensor": Attack(lambda context: with_entry(context, "weights/weight_0", bytes(16))),
    "empty_weight": Attack(lambda context: with_entry(context, "weights/weight_0", b"")),
    "odd_weight": Attack(lambda context: with_entry(context, "weights/weight_0", bytes(433))),
    "no_such_weight": weighing(lambda meta: meta.update(path_name="weight_99")),
    "stride_out_of_the_weight": weighing(lambda meta: meta.update(strides=[{"as_int": 2**40}] * 4)),
    "offset_out_of_the_weight": weighing(lambda meta: meta.update(storage_offset={"as_int": 10**9})),
    "negative_size": weighing(lambda meta: meta.update(sizes=[{"as_int": -1}] * 4)),
    "symbolic_size_of_a_weight": weighing(lambda meta: meta.update(sizes=[{"as_expr": {"expr_str": "s0"}}] * 4)),
    "expanded_weight": weighing(lambda meta: meta.update(sizes=[{"as_int": 10**3}] * 4, strides=[{"as_int": 0}] * 4)),
    "sparse_weight": weighing(lambda meta: meta.update(layout=1)),
    "sizes_that_overflow": weighing(
        lambda meta: meta.update(sizes=[{"as_int": 2**61}] * 4, strides=[{"as_int": 2**61}] * 4)
    ),
}
