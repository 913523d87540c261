"""Configurations: which source takes precedence, the message of every fault, and the description of every key."""

from itertools import pairwise

import pytest
import yaml

from experiments.schemas import Density
from mdnjax.config import ConfigError, dump, keys, load, read_words
from mdnjax.config.document import parse


def faults_of(tmp_path, text, *words):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(Density, tmp_path / "c.yaml", words)
    assert "\n" not in str(caught.value)
    return [fault.replace(f"{tmp_path}/", "") for fault in caught.value.faults]


def test_command_line_takes_precedence_over_file_and_file_over_defaults(tmp_path):
    (tmp_path / "c.yaml").write_text("seed: 1\nmodel: {num_components: 3}\ntrain: {num_steps: 10}\n")
    config = load(
        Density, tmp_path / "c.yaml", ["seed=2", "model.scale_floor=0.5", "model.hidden_sizes=[4, 5]", "output=some/dir"]
    )
    assert (config.seed, config.model.num_components, config.train.num_steps) == (2, 3, 10)
    assert (config.model.scale_floor, config.model.hidden_sizes, str(config.output)) == (0.5, (4, 5), "some/dir")
    assert config.data == Density().data


def test_a_dumped_configuration_loads_as_the_same(tmp_path):
    config = load(Density, None, ["train.x_noise=1e-5", "train.optimizer.options.b1=0.8", "output='1'"])
    (tmp_path / "c.yaml").write_text(dump(config))
    assert load(Density, tmp_path / "c.yaml") == config


def test_options_of_an_optimiser_are_not_inherited_by_another(tmp_path):
    (tmp_path / "c.yaml").write_text("train: {optimizer: {name: rmsprop, options: {decay: 0.9}}}")
    assert load(Density, tmp_path / "c.yaml", ["train.optimizer.name=adam"]).train.optimizer.options == {}
    words = ["train.optimizer.options.b1=0.5", "train.optimizer.name=adam"]
    assert load(Density, tmp_path / "c.yaml", words).train.optimizer.options == {"b1": 0.5}
    assert load(Density, tmp_path / "c.yaml", ["train.optimizer.options.eps=0.1"]).train.optimizer.options == {
        "decay": 0.9,
        "eps": 0.1,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sead: 3", "c.yaml:1: unknown key 'sead'; did you mean 'seed'?"),
        ("\nmodel:\n  num_component: 3", "c.yaml:3: unknown key 'model.num_component'; did you mean 'model.num_components'?"),
        ("num_components: 3", "c.yaml:1: unknown key 'num_components'; did you mean 'model.num_components'?"),
        ("seed: x", "c.yaml:1: seed: got 'x', expected a whole number"),
        ("seed: 1.5", "c.yaml:1: seed: got 1.5, expected a whole number"),
        ("seed: true", "c.yaml:1: seed: got true, expected a whole number"),
        ("seed: -1", "c.yaml:1: seed: got -1, expected a number >= 0"),
        ("seed:", "c.yaml:1: seed: got null, expected a whole number"),
        ("train: {optimizer: {learning_rate: 0}}", "c.yaml:1: train.optimizer.learning_rate: got 0, expected a number > 0"),
        ("train: {x_noise: .nan}", "c.yaml:1: train.x_noise: got 'nan', expected a number"),
        ("data: {standardise: yes}", "c.yaml:1: data.standardise: got 'yes', expected true or false"),
        ("model: {hidden_sizes: 20}", "c.yaml:1: model.hidden_sizes: got 20, expected a list"),
        ("model:\n  hidden_sizes:\n  - 20\n  - 0", "c.yaml:4: model.hidden_sizes.1: got 0, expected a number >= 1"),
        ("model: 3", "c.yaml:1: model: got 3, expected `key: value` lines"),
        ("seed: 1\nseed: 2", "c.yaml:2: key 'seed' is given twice, first on line 1"),
        ("train:\n  num_steps: 1\n  num_steps: 2", "c.yaml:3: key 'train.num_steps' is given twice, first on line 2"),
        ("seed: 1\n  bad: [", "c.yaml:2: malformed YAML"),
        ("a: &x [*x]", "malformed YAML"),
        ("- 1\n- 2", "c.yaml:1: got [1, 2], expected `key: value` lines"),
        ("? [1, 2]\n: 3", "a key must be plain text"),
        ("model: {activation: tahn}", "did you mean 'tanh'?"),
        ("train: {optimizer: {name: adamm}}", "did you mean 'adam'?"),
        ("train: {optimizer: {options: {b3: 1}}}", "'adam' has no option 'b3'"),
        ("train: {optimizer: {schedule: linear_schedule}}", "needs schedule_options: end_value"),
    ],
)
def test_each_fault_is_one_line_with_its_place(tmp_path, text, expected):
    faults = faults_of(tmp_path, text)
    assert any(expected in fault for fault in faults), faults


def test_all_faults_are_reported_at_once(tmp_path):
    text = "sead: 1\nseed: -1\nmodel: {num_components: x}\nseed: 2\n"
    faults = faults_of(tmp_path, text, "nonsense", "train.num_steps=0", "mode.x=3")
    assert len(faults) == 7
    assert sum(fault.startswith("command line") for fault in faults) == 3


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a\x00b"])
def test_an_unreadable_file_is_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(Density, tmp_path / "c.yaml")
    assert "c.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("1e-3", 1e-3), ("no", "no"), ("010", 10), ("0x1F", 31), ("0o17", 15), ("1_000", "1_000"), ("12:30", "12:30")],
        *[(".5", 0.5), ("~", None), ("", None), ("'1'", "1"), ("-.inf", float("-inf")), ("2026-01-01", "2026-01-01")],
        ("[1, a]", [1, "a"]),
    ],
)
def test_yaml_is_version_1_2(text, value):
    assert parse(f"key: {text}").tree == {"key": value}


@pytest.mark.parametrize("character", [",", ";", "|", "&", "*"])
def test_a_delimiter_on_the_command_line_is_a_text(character):
    layer = read_words([f"data.delimiter={character}"])
    assert (layer.tree, layer.faults) == ({"data": {"delimiter": character}}, [])


def test_every_key_is_described_and_its_default_is_valid():
    config = yaml.safe_load(dump(Density()))
    for key in keys(Density):
        assert key.meaning, key.name
        assert key.type, key.name
        for part in key.name.split("."):
            assert part
    flat = {key.name for key in keys(Density)}
    assert {"seed", "output", "train.optimizer.learning_rate", "model.num_components"} <= flat
    assert set(config) == {name.split(".")[0] for name in flat}
    assert Density.model_validate_json(Density().model_dump_json()) == Density()


@pytest.mark.parametrize("text", ["model:\n", "model: null\n", "model:\n  # num_components: 3\n"])
def test_a_section_without_keys_leaves_the_defaults(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    for words in ([], ["model.scale_floor=0.5"]):
        config = load(Density, tmp_path / "c.yaml", words)
        assert config.model == Density().model.model_copy(update={"scale_floor": 0.5} if words else {})


@pytest.mark.parametrize("section", ["data", "model", "train.optimizer", "ensemble"])
@pytest.mark.parametrize("value", ["g.csv", "3", "[1, 2]", "true"])
def test_a_word_does_not_hide_that_a_section_has_a_wrong_value(tmp_path, section, value):
    outer, _, inner = section.partition(".")
    text = f"{outer}: {{{inner}: {value}}}\n" if inner else f"{outer}: {value}\n"
    word = {"data": "data.seed=1", "model": "model.rank=2", "train.optimizer": "train.optimizer.clip_norm=2"}
    for words in ([], [word.get(section, "ensemble.num_members=2")]):
        (found,) = faults_of(tmp_path, text, *words)
        assert found.startswith(f"c.yaml:1: {section}: got"), found


def test_aliases_of_aliases_are_refused_before_they_fill_the_memory():
    levels = "".join(f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]\n" for below, name in pairwise("abcdefghij"))
    (fault,) = parse("a: &a [x, x, x, x, x, x, x, x, x]\n" + levels).faults
    assert fault == (1, "malformed YAML: more than 100000 values, perhaps by aliases of aliases")
