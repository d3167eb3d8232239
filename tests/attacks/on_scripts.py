"""Hostile TorchScript files."""

import pickle
import zlib

from tests.attacks.context import Attack, Bomb, Context, named
from tests.attacks.zips import Raw, archive, two_in_one

ATTACKS: dict[str, Attack] = {}


def attack(function=None, *, fires=False):
    """Register an attack under its name."""
    if function is None:
        return lambda one: attack(one, fires=fires)
    ATTACKS[function.__name__] = Attack(function, fires)
    return function


def with_entry(context, ending, data):
    parts = context.script
    return archive({**parts, named(parts, ending): data})


def main_class(parts):
    """The entry with the code of the module itself, which is a Sequential."""
    return next(name for name in parts if name.endswith("container.py"))


def with_code(context, code):
    """More methods for the module itself."""
    parts = context.script
    name = main_class(parts)
    return archive({**parts, name: parts[name] + code.encode()})


def on_loading(body, others=""):
    """A module whose __setstate__ does something."""

    def make(context):
        return archive(loads_with(context, body, others))

    return make


def loads_with(context, body, others=""):
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    parts = context.script
    name = main_class(parts)
    code = (
        "  def __getstate__(self) -> int:\n    return 0\n"
        f"  def __setstate__(self,\n    state: int) -> NoneType:\n{lines}    return None\n{others}"
    ).replace("MARK", str(context.mark))
    return {
        **{part: data for part, data in parts.items() if not part.endswith("debug_pkl")},
        name: parts[name].replace(b"\r", b"") + code.encode(),
        named(parts, "/data.pkl"): with_state(parts[named(parts, "/data.pkl")]),
    }


def with_state(data):
    """The pickle of a module whose own state is the number 0 instead of a dict."""
    head = data[: data.index(b")\x81") + 2]  # PROTO, the class, NEWOBJ
    return head + b"K\x00b."


# Code that runs while it is loaded

SAVES = 'torch.save(state, "MARK")'

for name, body, others, fires in (
    ("saves", SAVES, "", True),
    ("saves_by_an_operator", 'ops.aten.save(state, "MARK")', "", True),
    ("saves_by_another_name", '_0 = torch.save\n_1 = _0(state, "MARK")', "", False),
    ("saves_in_brackets", '(torch.save)(state, "MARK")', "", False),
    (
        "saves_in_a_helper",
        "_0 = (self).helper(state, )",
        '  def helper(self,\n    state: int) -> NoneType:\n    torch.save(state, "MARK")\n    return None\n',
        True,
    ),
    (
        "maps_a_file",
        '_0 = torch.from_file("MARK", True, 4, dtype=6, layout=None, device=None, pin_memory=None)',
        "",
        False,
    ),
    ("loops", "i = 0\nwhile True:\n  i = torch.add(i, 1)", "", False),
    ("loops_over_numbers", "for i in range(1000000000000):\n  pass", "", False),
    ("takes_memory", "_0 = torch.zeros([1000000, 1000000])", "", False),
    ("in_a_text", 'x = "while"\ntorch.save(x, "MARK")', "", True),
    ("after_a_comment", '# x\ntorch.save(state, "MARK")', "", True),
    ("over_lines", 'torch.save(state,\n  "MARK")', "", True),
    ("with_spaces", 'torch . save (state, "MARK")', "", True),
):
    ATTACKS[f"on_loading_{name}"] = Attack(on_loading(body, others), fires)


@attack(fires=True)
def two_archives_in_one(context: Context):
    return two_in_one(context.script, loads_with(context, SAVES))


@attack
def an_archive_before_another(context: Context):
    return archive(loads_with(context, SAVES)) + archive(context.script)


@attack
def an_archive_behind_another(context: Context):
    return archive(context.script, comment=archive(loads_with(context, SAVES)))


@attack
def code_in_another_case(context: Context):
    parts = [Raw(name, data) for name, data in context.script.items()]
    evil = loads_with(context, SAVES)
    name = main_class(evil)
    return archive([Raw(name.upper(), evil[name]), *parts])


# Code that reaches outside when it is run

for name, line in (
    ("save", 'torch.save(input, "MARK")'),
    ("save_by_an_operator", 'ops.aten.save(input, "MARK")'),
    ("other_machines", "ops.c10d.barrier(input)"),
    ("debugging", 'ops.debugprims.load_tensor("MARK", [1], [1])'),
    ("addresses", "ops.mkldnn.data_ptr(input)"),
    ("another_package", "ops.mine.op(input)"),
):
    code = f"  def evil(self,\n    input: Tensor) -> Tensor:\n    _0 = {line}\n    return input\n"
    ATTACKS[f"reaches_{name}"] = Attack(lambda context, code=code: with_code(context, code))


# Code that its parser does not survive


def method(line):
    return f"  def evil(self,\n    input: Tensor) -> Tensor:\n{line}\n    return input\n"


for name, line in (
    ("sum", "    _0 = " + " + ".join(["1"] * 50_000)),
    ("brackets", "    _0 = " + "(" * 20_000 + "1" + ")" * 20_000),
    ("brackets_over_lines", "    _0 = " + "(\n" * 20_000 + "1" + ")\n" * 20_000),
    ("calls", "    _0 = " + "torch.relu(" * 20_000 + "input" + ")" * 20_000),
    ("signs", "    _0 = " + "-" * 60_000 + "1"),
    ("not", "    _0 = " + "not " * 20_000 + "True"),
    ("choices", "    _0 = " + "1 if True else " * 2_000 + "1"),
    ("types", "    _0 = annotate(" + "List[" * 20_000 + "int" + "]" * 20_000 + ", [])"),
    ("indices", "    _0 = input" + "[0]" * 5_000),
    ("attributes", "    _0 = self" + ".a" * 5_000),
    ("blocks", "".join("  " * (level + 2) + "if True:\n" for level in range(5_000)) + "  " * 5_002 + "pass"),
    ("brackets_in_texts", "    _0 = " + '(")" + ' * 3_000 + '""' + ")" * 3_000),
    ("long_text", '    _0 = "' + "a" * 1_000_000 + '"'),
    ("long_name", "    " + "a" * 1_000_000 + " = 1"),
    ("long_number", "    _0 = 1." + "0" * 1_000_000),
    ("long_comment", "    # " + "a" * 1_000_000),
    ("many_values", "    _0 = [" + "\n".join(["1, 1, 1, 1, 1, 1, 1, 1, 1, 1,"] * 45_000) + "]"),
    ("many_statements", "    _0 = 1\n" * 600_000),
    ("other_quotes", "    _0 = 'x'"),
    ("three_quotes", '    _0 = """x\n"""'),
    ("nul", "    _0 = \0"),
    ("other_letters", "    é = 1"),
):
    ATTACKS[f"code_{name}"] = Attack(lambda context, line=line: with_code(context, method(line)))
ATTACKS["code_that_is_no_text"] = Attack(lambda context: with_entry(context, "container.py", b"\xff\xfe"))


# Pickles

for name in ("data.pkl", "constants.pkl"):
    ATTACKS[f"bomb_in_{name}"] = Attack(
        lambda context, name=name: with_entry(context, f"/{name}", pickle.dumps(Bomb(context.mark), 2))
    )
    for what, pieces in (
        ("unknown_instruction", b"\x80\x02\xff."),
        ("long_memo", b"\x80\x02)r\xff\xff\xff\x7f."),
        ("bytes_behind", b"\x80\x02).x"),
        ("empty", b""),
        ("no_end", b"\x80\x02)"),
        ("holds_itself", b"\x80\x02]q\x00h\x00a."),
        ("deep", b"\x80\x02)" + b"\x85" * 100_000 + b"."),
        ("laughs", b"\x80\x02)" + b"q\x00h\x00h\x00\x86" * 60 + b"."),
        ("deep_type", b"\x80\x02ctorch.jit._pickle\nrestore_type_tag\n]X\x8a\x13\x00\x00" + b"List[" * 1000 + b"R."),
        ("class_of_other_machines", b"\x80\x02c__torch__.torch.classes.dist_rpc\nWorkerInfo\n)\x81}b."),
        ("code_in_a_name", b"\x80\x02c__torch__.x y\nz\n)\x81}b."),
        ("unknown_class", b"\x80\x02c__torch__.nowhere\nNothing\n)\x81}b."),
    ):
        ATTACKS[f"{what}_in_{name}"] = Attack(
            lambda context, name=name, pieces=pieces: with_entry(context, f"/{name}", pieces)
        )


def with_pickle(old, new, count=1):
    def make(context):
        parts = context.script
        name = named(parts, "/data.pkl")
        assert old in parts[name]
        return archive({**parts, name: parts[name].replace(old, new, count)})

    return Attack(make)


ATTACKS |= {
    "storage_shorter_than_its_tensor": Attack(lambda context: with_entry(context, "/data/0", b"\0\0\0\0")),
    "storage_longer_than_its_tensor": Attack(lambda context: with_entry(context, "/data/0", bytes(4096))),
    "storage_that_is_not_there": with_pickle(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x00z"),
    "wider_numbers": with_pickle(b"FloatStorage", b"DoubleStorage"),
    "unknown_numbers": with_pickle(b"FloatStorage", b"EvilStorage"),
    "unknown_device": with_pickle(b"X\x03\x00\x00\x00cpu", b"X\x03\x00\x00\x00x:y"),
    "offset_out_of_the_storage": with_pickle(b"K\x00(K\x04K\x03", b"K\x64(K\x04K\x03"),
    "negative_size": with_pickle(b"K\x04K\x03K\x03K\x03t", b"J\xfc\xff\xff\xffK\x03K\x03K\x03t"),
    "stride_out_of_the_storage": with_pickle(b"K\x1bK\tK\x03K\x01t", b"J\xff\xff\xff\x7fK\tK\x03K\x01t"),
    "large_size": with_pickle(b"K\x04K\x03K\x03K\x03t", b"J\xff\xff\xff\x7fK\x03K\x03K\x03t"),
    "unknown_attribute": with_pickle(b"X\x06\x00\x00\x00weight", b"X\x06\x00\x00\x00wfight"),
    "other_function": with_pickle(b"_rebuild_tensor_v2", b"_import_dotted_name"),
}


# Structure

ATTACKS |= {
    "huge_version": Attack(lambda context: with_entry(context, "/version", b"9" * 5_000)),
    "version_of_the_future": Attack(lambda context: with_entry(context, "/version", b"99")),
    "version_zero": Attack(lambda context: with_entry(context, "/version", b"0")),
    "version_in_words": Attack(lambda context: with_entry(context, "/version", b"three")),
    "big_endian": Attack(lambda context: with_entry(context, "/byteorder", b"big")),
}


def zipped(change):
    def make(context):
        parts = [Raw(name, data) for name, data in context.script.items()]
        change(parts)
        return archive(parts)

    return Attack(make)


def folder(parts):
    return parts[0].name.partition("/")[0]


def named_part(parts, ending):
    return next(part for part in parts if part.name.endswith(ending))


def bomb_of_code(parts):
    part = named_part(parts, "container.py")
    part.data, part.deflate = b"#" * 50_000_000, True


def wrong_size(parts):
    part = named_part(parts, "container.py")
    part.deflate, part.size, part.local_size = True, 10, 10


def no_deflate(parts):
    part = named_part(parts, "container.py")
    part.crc = part.local_crc = zlib.crc32(b"")
    part.method = 8


ATTACKS |= {
    "code_that_unpacks_to_much": zipped(bomb_of_code),
    "code_that_unpacks_to_more_than_it_says": zipped(wrong_size),
    "code_that_does_not_unpack": zipped(no_deflate),
    "one_name_twice": zipped(lambda parts: parts.append(parts[0])),
    "two_folders": zipped(lambda parts: parts.append(Raw("other/version", b"3"))),
    "a_program_beside_the_code": zipped(
        lambda parts: parts.append(Raw(parts[0].name.partition("/")[0] + "/x.exe", b""))
    ),
    "a_name_of_three_thousand_letters": zipped(
        lambda parts: parts.append(Raw(f"{folder(parts)}/extra/" + "a" * 3000, b""))
    ),
}
