"""Every answer is checked when it is given: a bad one stops with one line and leaves nothing."""

import ast
import json
import os
import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from cookiecutter.cli import main

import answers
import answers_jinja
from conftest import PRODUCT, ROOT

QUESTIONS = [key for key in json.loads((ROOT / "cookiecutter.json").read_text()) if key[0] != "_"]

BAD = [
    ("project_name", ""),
    ("project_name", "   "),
    ("project_name", " led by a blank"),
    ("project_name", "two\nlines"),
    ("project_name", "a\ttab"),
    ("project_name", "bell\a"),
    ("project_name", "nul\0"),
    ("project_name", "delete\x7f"),
    ("project_name", "next line\x85"),
    ("project_name", "separator\u2028"),
    ("project_name", "half an emoji \ud83d"),
    ("project_name", "bytes that are not UTF-8 \udcff"),
    ("project_name", "no character \uffff"),
    ("project_name", "x" * 501),
    ("author", ""),
    ("author", "two\r\nlines"),
    ("author", "escape \x1b[31m"),
    ("project_slug", ""),
    ("project_slug", "Bad-Slug!"),
    ("project_slug", "1st"),
    ("project_slug", "-dash"),
    ("project_slug", "dash-"),
    ("project_slug", "with blank"),
    ("project_slug", "größe"),
    ("project_slug", "../escape"),
    ("project_slug", "a/b"),
    ("project_slug", "{{ cookiecutter.author }}"),
    ("project_slug", "line\n"),
    ("project_slug", "x" * 41),
    ("project_slug", "class"),
    ("project_slug", "none"),
    ("project_slug", "match"),
    ("project_slug", "json"),
    ("project_slug", "tensorflow"),
    ("project_slug", "keras"),
    ("project_slug", "trainer"),
    ("project_slug", "launcher"),
    ("project_slug", "test"),
    ("project_slug", "tests"),
    ("project_slug", "con"),
    ("project_slug", "lpt1"),
    ("problem", "audio"),
    ("problem", "Tabular"),
    ("problem", ""),
    ("license", "GPL"),
    ("license", "mit"),
    ("license", ""),
    ("gcp_project", "Upper-Case"),
    ("gcp_project", "short"),
    ("gcp_project", "x" * 31),
    ("gcp_project", "ends-with-"),
    ("gcp_project", "under_score"),
    ("gcp_project", "123456789012"),
    ("gcp_region", ""),
    ("gcp_region", "us-central"),
    ("gcp_region", "us-central1-a"),
    ("gcp_region", "US-CENTRAL1"),
    ("gcp_region", "global"),
    ("gcs_bucket", "gs://my-bucket"),
    ("gcs_bucket", "my-bucket/folder"),
    ("gcs_bucket", "My-Bucket"),
    ("gcs_bucket", "ab"),
    ("gcs_bucket", "x" * 64),
    ("gcs_bucket", "-bucket"),
    ("gcs_bucket", "two..dots"),
    ("gcs_bucket", "192.168.5.4"),
    ("gcs_bucket", "goog-runs"),
    ("gcs_bucket", "my-g00gle-runs"),
]

GOOD = [
    ("project_name", "x"),
    ("project_name", "x" * 500),
    ("project_name", "研究 👩‍🔬 “quoted” \u202b"),
    ("author", 'Robert "); DROP TABLE'),
    ("project_slug", "a"),
    ("project_slug", "a1"),
    ("project_slug", "x" * 40),
    ("project_slug", "json-study"),
    ("project_slug", "a__b--c"),
    ("gcp_project", ""),
    ("gcp_project", "abcdef"),
    ("gcp_project", "x" * 30),
    ("gcs_bucket", ""),
    ("gcs_bucket", "abc"),
    ("gcs_bucket", "0-under_score"),
    ("gcs_bucket", "data.example.com"),
    ("gcs_bucket", "x" * 63),
]


@pytest.fixture
def command(tmp_path, config_file):
    """The `cookiecutter` command line that bakes into the folder `out`."""
    (tmp_path / "out").mkdir()
    return [str(ROOT), "-o", str(tmp_path / "out"), "--config-file", str(config_file)]


def assert_refused(result, question, out):
    error = result.stderr
    assert getattr(result, "returncode", None) == 1 or getattr(result, "exit_code", None) == 1
    assert error.startswith(f"Error: {question}: ")
    assert error.endswith("\n") and error[:-1].isprintable()  # so: one line
    assert "write" in error
    assert not list(out.iterdir())


@pytest.mark.parametrize(("question", "answer"), BAD)
def test_bad_answer_stops_with_one_line(question, answer, command, tmp_path):
    result = CliRunner().invoke(main, [*command, "--no-input", f"{question}={answer}"])
    assert_refused(result, question, tmp_path / "out")


@pytest.mark.parametrize("pair", ["project_slug=Bad-Slug!", "license=GPL", "gcs_bucket=gs://x"])
def test_bad_answer_to_the_real_command(pair, command, tmp_path):
    line = [sys.executable, "-m", "cookiecutter", *command, "--no-input", pair]
    result = subprocess.run(line, capture_output=True, encoding="utf-8", timeout=60)
    assert_refused(result, pair.partition("=")[0], tmp_path / "out")
    assert not result.stdout


def test_bad_answer_at_the_prompt_stops_there(command, tmp_path):
    result = CliRunner().invoke(main, command, input="Penguins\nBad-Slug!\nnever read\n")
    assert_refused(result, "project_slug", tmp_path / "out")
    assert "Author" not in result.stdout


@pytest.mark.parametrize(
    ("question", "answer", "advice"),
    [
        ("project_slug", "Größe & Mehr!", "write grosse-mehr"),
        ("project_slug", "keras", "write keras-project"),
        ("license", "apache 2", "did you mean Apache-2.0?"),
        ("gcp_region", "us-centrall", "did you mean us-central1?"),
        ("gcp_region", "europe-west4-b", "write its region, europe-west4"),
        ("gcp_project", "123456789012", "write the project id"),
        ("gcs_bucket", "gs://runs/a", "write the bucket's name alone"),
    ],
)
def test_advice_fits_the_mistake(question, answer, advice):
    assert advice in answers.fault(question, answer)


@pytest.mark.parametrize(("question", "answer"), GOOD)
def test_edge_of_the_legal(question, answer):
    assert answers.fault(question, answer) is None


def test_every_region_is_legal():
    assert not any(answers.fault("gcp_region", region) for region in answers.REGIONS)


def test_every_question_is_checked_explained_and_documented():
    template = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert QUESTIONS == list(answers.CHECKS) == list(template["__prompts__"])
    keys = list(template)
    for question in QUESTIONS:
        check = f"__check_{question}"
        assert keys.index(check) == keys.index(question) + 1
        assert f"cookiecutter.{question} | checked('{question}')" in template[check]
        assert f"| `{question}` |" in readme


def test_names_of_our_dependencies_are_taken():
    """Whatever setup.py asks for: a project of the same name could not be installed beside it."""
    texts = [
        node.value
        for node in ast.walk(ast.parse((PRODUCT / "setup.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    names = [
        re.split(r"[\[>=<]", text)[0] for text in texts if re.match(r"[\w-]+(\[.*\])?>=", text)
    ]
    assert len(names) > 10
    assert [name for name in names if not answers.fault("project_slug", name)] == []


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Penguin Study", "penguin-study"),
        ("  3 Über-Modelle!  ", "uber-modelle"),
        ("研究", "my-project"),
        ("TensorFlow", "tensorflow-project"),
        ("{{ 7*7 }}", "my-project"),
        ("x" * 200, "x" * 40),
        ("a" * 39 + " b", "a" * 39),
    ],
)
def test_default_slug_is_legal_whatever_the_name(name, slug):
    assert answers.slug_from(name) == slug
    assert answers.fault("project_slug", slug) is None


@pytest.mark.parametrize("how", ["typed", "given"])
@pytest.mark.parametrize("name", ["{{ 7*7 }}", "{% if", "{## x", "#~ for", '"quote" \\ ${x} 👩‍🔬'])
def test_text_that_looks_like_a_template_is_text(name, how, command, tmp_path):
    if how == "typed":
        result = CliRunner().invoke(
            main, command, input=f"{name}\nliteral\n" + "\n" * len(QUESTIONS[2:])
        )
    else:
        arguments = ["--no-input", f"project_name={name}", "project_slug=literal"]
        result = CliRunner().invoke(main, command + arguments)
    assert result.exit_code == 0, result.output
    source = (tmp_path / "out" / "literal" / "trainer" / "__init__.py").read_text(encoding="utf-8")
    [project, *_] = [node.value for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    assert ast.literal_eval(project) == name


def test_answer_that_is_no_text():
    assert answers.faults({}) == [f"{question}: is None; write text" for question in QUESTIONS]


def test_folder_that_is_there_already(command, tmp_path):
    (tmp_path / "out" / "taken").mkdir()
    arguments = ["--no-input", "project_slug=taken"]
    result = CliRunner().invoke(main, command + arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: project_slug: the folder ")
    assert "write another name" in result.stderr and result.stderr.count("\n") == 1
    assert not list((tmp_path / "out" / "taken").iterdir())
    assert CliRunner().invoke(main, [*command, *arguments, "--overwrite-if-exists"]).exit_code == 0


def test_misspelt_question_is_not_ignored(command, tmp_path):
    result = CliRunner().invoke(main, [*command, "--no-input", "project_nam=x"])
    assert_refused(result, "project_nam", tmp_path / "out")
    assert "did you mean project_name?" in result.stderr


def test_replay_reports_all_faults_at_once(command, tmp_path, config_file):
    assert CliRunner().invoke(main, [*command, "--no-input", "project_slug=good"]).exit_code == 0
    recorded = next(config_file.parent.glob("replay/*.json"))
    replay = json.loads(recorded.read_text(encoding="utf-8"))
    replay["cookiecutter"].update(project_slug="bad!", gcp_region="mars", gcs_bucket="gs://x")
    record = tmp_path / "replay.json"
    record.write_text(json.dumps(replay), encoding="utf-8")
    before = sorted(os.listdir(tmp_path / "out"))
    line = [sys.executable, "-m", "cookiecutter", *command, "--replay-file", str(record)]
    result = subprocess.run(line, capture_output=True, encoding="utf-8", timeout=60)
    assert result.returncode == 1
    for question in ("project_slug", "gcp_region", "gcs_bucket"):
        assert len(re.findall(f"^{question}: .*write.*$", result.stderr, re.MULTILINE)) == 1
    assert sorted(os.listdir(tmp_path / "out")) == before


def test_the_options_of_cruft_are_not_taken_for_answers():
    """With older versions of typer, cruft's commands are click's, too."""
    with click.Context(click.Command("update")) as context:
        context.params = {"extra_context": "{}", "output_dir": "."}
        assert answers_jinja.only_questions("") == ""
