"""How long a model and its fold take, under onnxruntime or torch, run in turns"""
