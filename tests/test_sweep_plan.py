"""Sweep files: the settings they expand to, the members that share a program, and the errors of invalid files."""

import numpy as np
import pytest

from experiments.members import plan
from experiments.members.plan import group_of, members_of, read
from experiments.members.settings import draw
from mdnjax.config import ConfigError, dump
from tests.commands import ROOT

K, NOISE, RATE = "model.num_components", "train.x_noise", "train.optimizer.learning_rate"


def planned(tmp_path, text, *words):
    (tmp_path / "s.yaml").write_text(text)
    return read(tmp_path / "s.yaml", words)


def rows(tmp_path, text, *words):
    return [tuple(setting.values()) for setting in planned(tmp_path, text, *words).settings]


def test_a_grid_is_every_combination_and_the_last_key_changes_fastest(tmp_path):
    text = f"grid: {{{K}: [3, 5], {NOISE}: [0, 0.1, 0.2]}}"
    assert rows(tmp_path, text) == [(3, 0), (3, 0.1), (3, 0.2), (5, 0), (5, 0.1), (5, 0.2)]


def test_zip_is_row_by_row(tmp_path):
    assert rows(tmp_path, f"zip: {{{K}: [3, 5], {NOISE}: [0.1, 0.2]}}") == [(3, 0.1), (5, 0.2)]


def test_a_list_is_one_setting_after_the_other_and_the_base_fills_the_rest(tmp_path):
    text = (
        f"model: {{num_components: 7}}\nlist:\n- {{{K}: 3}}\n- {{{NOISE}: 0.5}}\n- {{model: {{num_components: 4}}, {NOISE}: 0.6}}"
    )
    assert rows(tmp_path, text) == [(3, 0.07), (7, 0.5), (4, 0.6)]


def test_blocks_multiply(tmp_path):
    text = f"grid: {{{K}: [3, 5]}}\nzip: {{{NOISE}: [0, 1]}}\nlist: [{{{RATE}: 0.1}}, {{{RATE}: 0.2}}]"
    assert rows(tmp_path, text) == [(k, noise, rate) for k in (3, 5) for noise in (0, 1) for rate in (0.1, 0.2)]


def test_random_settings_are_within_bounds_and_repeatable(tmp_path):
    text = f"""
    random:
      num_settings: 300
      seed: 4
      space:
        {K}: {{uniform: [2, 4]}}
        {RATE}: {{log_uniform: [1.0e-4, 1.0]}}
        {NOISE}: {{uniform: [0.1, 0.3]}}
        model.activation: {{choice: [tanh, relu]}}
    """
    drawn = rows(tmp_path, text)
    components, rates, noise, activations = zip(*drawn, strict=True)
    assert drawn == rows(tmp_path, text) != rows(tmp_path, text, "random.seed=5")
    assert set(components) == {2, 3, 4}
    assert all(isinstance(number, int) for number in components)
    assert 1e-4 <= min(rates) < 1e-3
    assert 0.1 < max(rates) <= 1
    assert abs(np.mean(np.log10(rates)) + 2) < 0.3  # uniform in the logarithm
    assert 0.1 <= min(noise) < max(noise) <= 0.3
    assert set(activations) == {"tanh", "relu"}


def test_both_bounds_of_a_whole_number_are_drawn():
    from experiments.members.schema import Distribution

    generator = np.random.default_rng(0)
    for kind in ("uniform", "log_uniform"):
        drawn = {draw(Distribution(**{kind: (1.0, 3.0)}), True, generator) for _ in range(100)}
        assert drawn == {1, 2, 3}


def test_seeds_count_from_that_of_the_base_and_members_are_numbered(tmp_path):
    members = members_of(planned(tmp_path, f"num_seeds: 3\nseed: 10\ngrid: {{{K}: [3, 5]}}"))
    assert [(number, setting, config.seed, config.model.num_components) for number, setting, config, _ in members] == [
        (0, 0, 10, 3),
        (1, 0, 11, 3),
        (2, 0, 12, 3),
        (3, 1, 10, 5),
        (4, 1, 11, 5),
        (5, 1, 12, 5),
    ]


@pytest.mark.parametrize(
    ("key", "values", "num_groups"),
    [
        (RATE, "[0.1, 0.2]", 1),
        ("train.optimizer.weight_decay", "[0.1, 0.2]", 1),
        ("train.optimizer.weight_decay", "[0, 0.2]", 2),
        (NOISE, "[0.1, 0.2]", 1),
        (NOISE, "[0.0, 0.2, 0.3]", 2),
        ("model.scale_floor", "[0.0, 0.2]", 1),
        ("seed", "[1, 2]", 1),
        ("data.standardise", "[true, false]", 1),
        (K, "[3, 5]", 2),
        ("model.hidden_sizes", "[[3], [3, 3]]", 2),
        ("train.num_steps", "[3, 5]", 2),
        ("train.loss", "[nll, nll_closed_form]", 2),
        ("data.num_train", "[30, 50]", 2),
        ("train.optimizer.name", "[adam, sgd]", 2),
    ],
)
def test_numbers_share_a_program_and_shapes_do_not(key, values, num_groups, tmp_path):
    members = members_of(planned(tmp_path, f"num_seeds: 2\ngrid: {{{key}: {values}}}"))
    assert len({group_of(member.config) for member in members}) == num_groups


def test_words_override_the_sweep_file_which_overrides_the_base(tmp_path):
    (tmp_path / "b.yaml").write_text("seed: 5\nmodel: {num_components: 3}\ntrain: {num_steps: 7, report_every: 3}\noutput: x")
    config = planned(
        tmp_path, "base: b.yaml\ntrain: {num_steps: 8}\nmodel: {num_components: 4}", "model.num_components=6"
    ).configs[0]
    assert (config.seed, config.train.num_steps, config.train.report_every, config.model.num_components) == (5, 8, 3, 6)


def test_bases_can_be_swept(tmp_path):
    for name, components in (("a", 3), ("b", 4)):
        (tmp_path / f"{name}.yaml").write_text(f"model: {{num_components: {components}}}")
    sweep = planned(tmp_path, "grid: {base: [a.yaml, b.yaml]}")
    assert [config.model.num_components for config in sweep.configs] == [3, 4]
    assert sweep.settings == [{"base": "a.yaml"}, {"base": "b.yaml"}]


def test_a_base_is_found_beside_the_file_that_names_it_and_else_in_the_current_folder(tmp_path, monkeypatch):
    sweep_folder, current = tmp_path / "sweeps", tmp_path / "current"
    for folder, components in ((sweep_folder, 3), (current, 4)):
        folder.mkdir()
        (folder / "both.yaml").write_text(f"model: {{num_components: {components}}}")
    (current / "only_here.yaml").write_text("model: {num_components: 5}")
    monkeypatch.chdir(current)

    def components_of(text, *words):
        return [config.model.num_components for config in planned(sweep_folder, text, *words).configs]

    assert components_of("base: both.yaml") == components_of("grid: {base: [both.yaml]}") == [3]
    assert components_of("base: only_here.yaml") == components_of("grid: {base: [only_here.yaml]}") == [5]
    assert components_of("", "base=both.yaml") == components_of("", "grid.base=[both.yaml]") == [4]
    assert components_of("base: both.yaml\nlist: [{base: both.yaml}]", f"list=[{{base: {sweep_folder / 'both.yaml'}}}]") == [3]


def test_blocks_can_be_given_as_words(tmp_path):
    assert rows(tmp_path, f"grid: {{{K}: [3, 5]}}", f"grid.{K}=[6, 7]") == [(6,), (7,)]
    assert rows(tmp_path, "", f"grid.{K}=[6]", f"grid.{NOISE}=[1, 2]") == [(6, 1), (6, 2)]


def test_a_sweep_without_blocks_has_one_setting(tmp_path):
    sweep = planned(tmp_path, "", "num_seeds=4")
    assert sweep.settings == [{}]
    assert len(members_of(sweep)) == 4


def test_the_folder_of_results_is_named_by_the_file_and_is_not_that_of_a_run(tmp_path):
    text = "output: results/mine\n"
    assert str(planned(tmp_path, "num_seeds: 3").sweep.output) == "results/s"
    assert str(planned(tmp_path, text).sweep.output) == "results/s_sweep"  # the file is the configuration of a run
    assert str(planned(tmp_path, text + "num_seeds: 3").sweep.output) == "results/mine"
    assert str(planned(tmp_path, text, "output=elsewhere").sweep.output) == "elsewhere"


def test_the_digest_depends_on_the_content_of_the_base(tmp_path):
    for sweep in ("grid: {base: [b.yaml]}", "base: b.yaml", "search: {space: {base: {choice: [b.yaml]}}}"):

        def digest(text, sweep=sweep):
            (tmp_path / "b.yaml").write_text(text)
            return plan.resolved(planned(tmp_path, sweep))["digest"]

        assert digest("seed: 1") == digest("seed: 1  # the same") != digest("seed: 2")


@pytest.mark.parametrize("base", ["base: b.yaml\ngrid: {seed: [1, 2]}", "grid: {base: [b.yaml]}"])
def test_the_resolved_sweep_is_the_same_sweep(base, tmp_path):
    """This also holds where the base alone is not a valid configuration."""
    (tmp_path / "b.yaml").write_text("model: {num_components: 3}")
    text = f"{base}\nnum_seeds: 2\ntrain: {{num_steps: 9, optimizer: {{options: {{momentum: 0.9}}}}}}\n"
    text += "zip: {train.optimizer.name: [sgd]}"
    first = planned(tmp_path, text)
    again = planned(tmp_path, dump(plan.resolved(first)))
    assert [member.config for member in members_of(again)] == [member.config for member in members_of(first)]
    assert plan.resolved(again) == plan.resolved(first)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_sweeps_of_the_repository_are_valid(path):
    assert len(members_of(read(path, ()))) > 10


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("gird: {}", [], "s.yaml:1: unknown key 'gird'; did you mean 'grid'?"),
        (f"grid:\n  {K}: [3]\n  train.x_nose: [1, 2]", [], "s.yaml:3: unknown key 'train.x_nose'; did you mean 'train.x_noise'?"),
        (f"grid:\n  {K}: [3, 0]", [], "s.yaml:2: model.num_components: got 0, expected a whole number from 1 to 100000"),
        (f"grid:\n  {K}:\n  - 3\n  - x", [], "s.yaml:4: model.num_components: got 'x', expected a whole number"),
        (f"grid: {{{K}: 3}}", [], "s.yaml:1: grid.model.num_components: got 3, expected a list"),
        (f"grid: {{{K}: []}}", [], "s.yaml:1: grid.model.num_components: got [], expected at least 1 entries"),
        ("grid: 3", [], "s.yaml:1: grid: got 3, expected `key: value` lines"),
        (f"\nzip: {{{K}: [3, 5], seed: [1]}}", [], "s.yaml:2: zip: got 2 of model.num_components, 1 of seed, expected as many"),
        ("list: [3]", [], "s.yaml:1: list.0: got 3, expected `key: value` lines"),
        (f"list:\n- {K}: 3\n- {K}: -3", [], "s.yaml:3: model.num_components: got -3"),
        (f"grid: {{{K}: [3]}}\nlist: [{{{K}: 3}}]", [], "s.yaml:2: 'model.num_components' is swept twice, also at s.yaml:1"),
        ("grid: {train.optimizer.name: [sgd], train.optimizer: [{name: sgd}]}", [], "is swept twice"),
        ("grid: {output: [a, b]}", [], "s.yaml:1: 'output' cannot be swept"),
        ("grid: {regression.num_steps: [3]}", [], "'regression.num_steps' cannot be swept"),
        ("random: {num_settings: 3}", [], "s.yaml:1: random.space: got {}, expected at least 1 entries"),
        (f"random: {{space: {{{K}: {{uniform: [5, 3]}}}}}}", [], "uniform: got [5.0, 3.0], expected [low, high]"),
        (f"random: {{space: {{{RATE}: {{log_uniform: [0, 3]}}}}}}", [], "log_uniform: got a low of 0.0, expected a number > 0"),
        (f"random: {{space: {{{RATE}: {{unifrm: [0, 3]}}}}}}", [], "did you mean 'random.space.KEY.uniform'?"),
        (f"random: {{space: {{{RATE}: {{}}}}}}", [], "got none, expected one of uniform, log_uniform, choice"),
        (f"random: {{space: {{{RATE}: {{uniform: [-3, -2]}}}}}}", [], "learning_rate: got -"),
        ("base: nothing.yaml", [], "s.yaml:1: base: cannot read nothing.yaml: No such file or directory in "),
        ("base: s.yaml\ngrid: {}", [], "base: s.yaml is a sweep itself"),
        ("grid: {base: [nothing.yaml]}", [], "s.yaml:1: base: cannot read nothing.yaml"),
        ("grid: {base: [3]}", [], "s.yaml:1: base: got 3, expected a path"),
        ("grid: {base: [null]}", [], "s.yaml:1: base: got None, expected a path"),
        (f"list: [{{{K}: 3, model: {{num_components: 4}}}}]", [], "s.yaml:1: 'model.num_components' is swept twice"),
        (
            f"random: {{space: {{{K}: {{uniform: [3.2, 3.8]}}}}}}",
            [],
            "s.yaml:1: random.space.model.num_components: got [3.2, 3.8]",
        ),
        (f"random: {{space: {{{K}: {{uniform: [1, 1.0e+30]}}}}}}", [], "expected bounds with a whole number between them"),
        (f"random: {{space: {{{NOISE}: {{uniform: [-1.0e+308, 1.0e+308]}}}}}}", [], "expected bounds with a number between them"),
        (
            f"search: {{space: {{{K}: {{log_uniform: [0.3, 0.4]}}}}}}",
            [],
            "s.yaml:1: search.space.model.num_components: got [0.3, 0.4]",
        ),
        ("search: {space: {model.num_component: {uniform: [1, 3]}}}", [], "s.yaml:1: unknown key 'model.num_component'"),
        (f"search: {{space: {{{K}: {{choice: [3, 0]}}}}}}", [], "s.yaml:1: model.num_components: got 0"),
        ("search: {space: {base: {choice: [nothing.yaml]}}}", [], "s.yaml:1: base: cannot read nothing.yaml"),
        (f"search: {{space: {{{K}: {{uniform: [1, 3]}}}}}}\nnum_seeds: 2\nseed: 4294967295", [], "num_seeds: got 2 from seed"),
        ("num_seeds: 1000000000", [], "got a sweep of 1,000,000,000 members, expected at most 100,000"),
        (f"random: {{num_settings: 1000000000, space: {{{NOISE}: {{uniform: [0, 1]}}}}}}", [], "1,000,000,000 members"),
        ('output: "a\\0b"\nnum_seeds: 2', [], "s.yaml:1: output: got"),
        ("output: ''\nnum_seeds: 2", [], "s.yaml:1: output: got '.', expected a folder"),
        ("num_seeds: 0", [], "s.yaml:1: num_seeds: got 0, expected a number >= 1"),
        ("num_seeds: 5\nseed: 4294967295", [], "num_seeds: got 5 from seed 4294967295 on"),
        (f"grid: {{{NOISE}: [1, 2]}}", [f"{NOISE}=3"], "command line: 'train.x_noise' is swept, at s.yaml:1"),
        ("", ["worker.index=3"], "command line: got the key 'worker', which an older version wrote, expected no such key"),
        (
            "worker: {index: 1}\ndistributed: {start: true}",
            [],
            "s.yaml:2: got the key 'distributed', which an older",
        ),
        ("", ["cluster.workers=2", "cluster.scheduler=tcp://a:1"], "cluster: got both workers and scheduler"),
        ("cluster: {scheduler: a}", [], "s.yaml:1: cluster: scheduler: got 'a', expected an address such as tcp://HOST:8786"),
        ("cluster: {workers: 0}", [], "s.yaml:1: cluster.workers: got 0, expected a number >= 1"),
        ("search: {method: tpee}", [], "search.method: got 'tpee', expected one of 'tpe' or 'random'; did you mean 'tpe'?"),
        (f"search: {{space: {{{K}: {{uniform: [1, 3]}}}}}}\ngrid: {{seed: [1]}}", [], "s.yaml:2: grid: got a search too"),
        ("- 3", [], "s.yaml:1: got [3], expected `key: value` lines"),
        ("grid: [", [], "malformed YAML"),
        (f"grid: {{{K}: [3], {K}: [4]}}", [], "is given twice"),
    ],
)
def test_an_error_is_one_line_with_its_place(text, words, expected, tmp_path):
    with pytest.raises(ConfigError) as caught:
        planned(tmp_path, text, *words)
    assert expected in str(caught.value).replace(f"{tmp_path}/", "")
    assert "\n" not in str(caught.value)


def test_only_the_first_of_many_faults_are_listed(tmp_path):
    with pytest.raises(ConfigError) as caught:
        planned(tmp_path, f"grid: {{{K}: [{', '.join(str(-i) for i in range(50))}]}}")
    assert len(caught.value.faults) == 9
    assert caught.value.faults[-1] == "and 42 more"
