"""Archives of PyTorch, checked part by part before torch sees them. Nothing of torch is handed a file of a stranger.

zip_reader      the zip: exactly one archive, every byte of it accounted for
zip_headers     its headers, held against each other
clean           the archive that torch gets instead, written from checked parts
layout          which entries a TorchScript file and an exported program may have
pickles         pickles, read without calling anything
pickle_values   what they would build
tensors         what a pickle says of its tensors, held against the bytes that are there
json_text       JSON of bounded size
json_kinds      which kind a value in it is of
names           what may become the name of something
operators       what a program may call

scripts         a TorchScript file, all of it
script_code     its code
script_pickles  its pickles
traced_inputs   what it says of the inputs that it was traced with

exported        an exported program, all of it
program         its JSON, by torch's own schema
program_texts   what every text in that may be
expressions     symbolic sizes and the conditions on inputs
treespecs       nested inputs and outputs
saved           files of torch.save in it: sample inputs, and weights of older versions

checkpoints     files of torch.save, which hold no program: what they are

devices         where tensors live, by their names, and what torch wrote on the CPU written back
script_devices  the same for a TorchScript file
program_devices the same for an exported program
locations       the locations of tensors in a pickle, changed in its bytes
"""
