"""Archives of PyTorch, checked part by part before torch sees them. Nothing of torch is handed a file of a stranger.

zip_reader      the zip: exactly one archive, every byte of it accounted for
clean           the archive that torch gets instead, written from checked parts
layout          which entries a TorchScript file and an exported program may have
pickles         pickles, read without calling anything
tensors         what a pickle says of its tensors, held against the bytes that are there
json_text       JSON of bounded size
program         the JSON of an exported program, by torch's own schema
operators       what a program may call
expressions     symbolic sizes and the conditions on inputs
treespecs       nested inputs and outputs
names           what may become the name of something
script_code     the code of a TorchScript file
devices         where tensors live, by their names, and what torch wrote on the CPU written back
script_devices  the same for a TorchScript file
program_devices the same for an exported program
locations       the locations of tensors in a pickle, changed in its bytes
"""
