"""Settings: what an administrator writes, and what they are told when it cannot be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from node.settings import Settings, SettingsError
from node.settings.file import line_of, load_settings, overridden
from node.settings.printing import print_config
from node.settings.routes import DEFAULT_ROUTES

ROOT = Path(__file__).parents[3]
EVERYTHING = """
[node]
data_dir = "/srv/overread"
ae_title = "AI NODE"
[dicom]
host = "0.0.0.0"
port = 104
allowed_callers = ["CT1@10.0.0.5", "PACS"]
[[dicom.sources]]
ae_title = "CT1"
quiet_seconds = 30.0
[[destinations]]
name = 'the "old" PACS \\ Zürich'
ae_title = "PACS"
host = "10.0.0.20"
port = 104
objects = ["sr", "sc"]
[[destinations]]
name = "new"
ae_title = "VNA"
host = "10.0.0.21"
port = 11112
confirm = true
[[archives]]
name = "vna"
ae_title = "VNA"
host = "10.0.0.21"
port = 11112
[[routes]]
reader = "lung-nodules"
match = { Modality = "CT", StudyDescription = ["~chest|lung", "\\\\ THORAX"] }
priority = "stat"
"""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def written(folder: Path, text: str) -> Path:
    path = folder / "overread.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as refused:
        load_settings(written(folder, text))
    return str(refused.value)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, ""))
    assert (settings.dicom.port, settings.node.ae_title, settings.web.port) == (11112, "OVERREAD", 8080)
    assert settings.dicom.host == settings.web.host == "127.0.0.1"


def test_without_a_name_the_file_of_the_current_folder_is_taken() -> None:
    assert load_settings().node.ae_title == "OVERREAD"
    written(Path(), '[node]\nae_title = "HERE"')
    assert load_settings().node.ae_title == "HERE"


def test_a_relative_path_is_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    text = '[node]\ndata_dir = "data"\n[engine]\nmodels = "../models"\n[database]\nurl = "sqlite:///here.db"'
    settings = load_settings(written(tmp_path, text))
    assert settings.node.data_dir == tmp_path / "data"
    assert settings.engine.models == tmp_path.parent / "models"
    assert settings.database.url == f"sqlite:///{tmp_path}/here.db"


def test_without_a_file_a_relative_path_is_taken_from_the_current_folder() -> None:
    assert load_settings().node.data_dir == Path.cwd() / "overread-data"


def test_the_database_follows_the_data_unless_it_is_set(tmp_path: Path) -> None:
    moved = load_settings(written(tmp_path, '[node]\ndata_dir = "/srv/x"'))
    assert moved.database.url == "sqlite:////srv/x/overread.db"
    assert Settings.model_validate({"node": {"data_dir": "y"}}).database.url == "sqlite:///y/overread.db"


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERREAD_DICOM__PORT", "104")
    monkeypatch.setenv("OVERREAD_DICOM__ALLOWED_CALLERS", '["CT1"]')
    settings = load_settings(written(tmp_path, "[dicom]\nport = 4\nquiet_seconds = 3"))
    assert (settings.dicom.port, settings.dicom.quiet_seconds) == (104, 3)
    assert [caller.text for caller in settings.dicom.allowed_callers] == ["CT1"]


def test_what_the_file_says_in_vain_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERREAD_DICOM__PORT", "104")
    monkeypatch.setenv("OVERREAD_DICOM__DURABLE", "true")
    monkeypatch.setenv("OVERREAD_WEB__PROXIES", "[]")
    file = written(tmp_path, '[dicom]\nport = 104\ndurable = true\n[web]\nport = 9\nproxies = ["10.0.0.1"]')
    (sentence,) = overridden(file)
    assert sentence.startswith(f"web.proxies of {file}, line 6, has no effect: OVERREAD_WEB__PROXIES")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().dicom.port = 3


@pytest.mark.parametrize("text", ["", EVERYTHING])
def test_what_is_printed_reads_back_as_the_same_settings(tmp_path: Path, text: str) -> None:
    settings = load_settings(written(tmp_path, text))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert load_settings(written(elsewhere, print_config(settings))) == settings


def test_every_key_is_printed_with_a_comment(tmp_path: Path) -> None:
    lines = print_config(load_settings(written(tmp_path, ""))).splitlines()
    keys = [i for i, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert len(keys) >= 12
    assert all(lines[i - 1].startswith("# ") for i in keys)


def test_the_shipped_routes_are_printed_and_can_be_taken_over(tmp_path: Path) -> None:
    printed = print_config(load_settings(written(tmp_path, "")))
    _, _, shipped = printed.partition("these are in force:")
    taken_over = "\n".join(line.removeprefix("# ") for line in shipped.splitlines())
    assert load_settings(written(tmp_path, taken_over)).routes == DEFAULT_ROUTES


WITH_PASSWORD = (
    "postgresql+psycopg://node:hunter2@db/overread",
    "postgresql+psycopg://db/overread?user=node&password=hunter2",
)


@pytest.mark.parametrize("url", WITH_PASSWORD)
def test_a_password_is_never_printed(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("OVERREAD_DATABASE__URL", url)
    settings = load_settings()
    assert settings.database.url.count("hunter2") == 1
    assert "hunter2" not in print_config(settings)
    assert "hunter2" not in repr(settings)


def test_a_password_may_come_from_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql+psycopg://node:hunter2@db/overread\n")
    settings = load_settings(written(tmp_path, '[database]\nurl_file = "url"'))
    assert settings.database.url == "postgresql+psycopg://node:hunter2@db/overread"
    assert load_settings(written(tmp_path, print_config(settings))) == settings


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (b"", "url holds no URL such as postgresql+psycopg://user@host/name"),
        (b"\n", "url holds no URL such as"),
        (b"mysql://node:hunter2@db/overread", "url holds no URL such as"),
        (b"postgresql+psycopg://a:hunter2@db/one\npostgresql+psycopg://b:hunter2@db/two", "url holds no URL"),
        (b"\xff\xfep\x00", "url is not a text file in UTF-8"),
    ],
)
def test_a_file_that_holds_no_url_stands_for_no_database(tmp_path: Path, held: bytes, said: str) -> None:
    (tmp_path / "url").write_bytes(held)
    refused = refusal(tmp_path, '[database]\nurl_file = "url"')
    assert said in refused
    assert "hunter2" not in refused


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("sqlite:///?a=b", False),
        ("sqlite:///", False),
        ("sqlite:///one.db\ntwo.db", False),
        ("sqlite:////srv/over read/one.db", True),
        ("postgresql+psycopg://", True),
        ("postgresql+psycopg://db/overread", True),
    ],
)
def test_the_environment_and_a_file_take_the_same_urls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, is_one: bool
) -> None:
    (tmp_path / "url").write_text(url)
    if is_one:
        assert load_settings(written(tmp_path, '[database]\nurl_file = "url"')).database.url == url
    else:
        assert "url holds no URL such as" in refusal(tmp_path, '[database]\nurl_file = "url"')
    monkeypatch.setenv("OVERREAD_DATABASE__URL", url)
    if is_one:
        assert load_settings(written(tmp_path, "")).database.url == url
    else:
        assert "is not allowed" in refusal(tmp_path, "")


@pytest.mark.parametrize(
    "place",
    [
        "node:p@hunter2@db",
        "node:p@ss:hunter2@db",
        "node:secret@db:hunter2",
        "node:p@hunter2/@db",
        "node:p@ss/hunter2@db",
        "node:p@ss?hunter2@db",
        "node:p hunter2@db",
        "no/de:hunter2@db",
        "node:hunter2@db:",
        "node:hunter2@db:99999999",
        "db:",
        "node@[::1]:5432/hunter2?application_name=a@b",
    ],
)
def test_a_url_that_could_be_taken_apart_otherwise_is_told_of_without_repeating_any_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    url = f"postgresql+psycopg://{place}/overread"
    (tmp_path / "url").write_text(url)
    told = [refusal(tmp_path, '[database]\nurl_file = "url"')]
    monkeypatch.setenv("OVERREAD_DATABASE__URL", url)
    told.append(refusal(tmp_path, ""))
    for said, key in zip(told, ("url_file", "url"), strict=True):
        assert f"database: {key} cannot be taken apart" in said
        assert "%40 stands for @" in said
        assert "hunter2" not in said


@pytest.mark.parametrize(
    ("url", "user", "host", "port", "name"),
    [
        ("node:p%40ss/w:rd?@db:5432/overread?sslmode=require", "node", "db", 5432, "overread"),
        ("/overread?host=/run/postgresql&user=node", None, None, None, "overread"),
        ("node@[::1]:5432/overread?application_name=a%40b", "node", "::1", 5432, "overread"),
        ("n%40de:hunter2@db/over%20read", "n@de", "db", None, "over read"),
        ("db:5432/overread", None, "db", 5432, "overread"),
    ],
)
def test_the_parts_of_a_databases_url_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, url: str, user: str | None, host: str | None, port: int | None, name: str
) -> None:
    monkeypatch.setenv("OVERREAD_DATABASE__URL", f"postgresql+psycopg://{url}")
    taken = make_url(load_settings().database.url)
    assert (taken.username, taken.host, taken.port, taken.database) == (user, host, port, name)


@pytest.mark.parametrize(
    "url",
    [
        *WITH_PASSWORD,
        "postgresql+psycopg://node:hun hunter2@db/overread",
        "postgresql+psycopg://the node:hunter2@db/overread",
        "postgresql+psycopg://n@de:hunter2@db/overread",
    ],
)
def test_a_password_in_the_settings_file_is_refused_without_repeating_it(tmp_path: Path, url: str) -> None:
    said = refusal(tmp_path, f'[database]\nurl = "{url}"')
    assert "line 2" in said
    assert "url_file" in said
    assert "hunter2" not in said


def test_a_password_with_blanks_is_hidden_where_a_url_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERREAD_DATABASE__URL", "mysql://node:hun hunter2 @db/overread")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert "'mysql://node:***@db/overread'" in str(refused.value)


def test_one_bracket_where_two_belong_is_told_so(tmp_path: Path) -> None:
    said = refusal(
        tmp_path, PEER.format("destinations", "10.0.0.1", 104).replace("[[", "[").replace("]]", "]")
    )
    assert "write [[destinations]], with two brackets" in said


def test_a_host_has_no_port(tmp_path: Path) -> None:
    assert "without a port" in refusal(tmp_path, PEER.format("destinations", "10.0.0.1:104", 104))
    assert load_settings(written(tmp_path, PEER.format("destinations", "fe80::1", 104))).destinations


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[dicom]\nprot = 104", ["line 2: dicom.prot = 104 is not a setting", "Did you mean port?"]),
        ("[dicon]\nport = 104", ["line 1: dicon", "Did you mean dicom?"]),
        ("[dicom]\n\nport = 70000", ["line 3: dicom.port = 70000", "a whole number from 0 to 65535"]),
        ("[dicom]\nport = true", ["line 2: dicom.port: true is not a number"]),
        ("[dicom]\nquiet_seconds = 0", ["dicom.quiet_seconds = 0", "a number above 0"]),
        *(
            (f"[{section}]\n{key} = 1000000", [f"{section}.{key} = 1000000", "to 36525"])
            for section, key in (
                ("priors", "oldest_days"),
                ("priors", "retry_days"),
                ("audit", "keep_days"),
                ("retention", "records_days"),
            )
        ),
        ("[dicom]\nquiet_seconds = nan", ["dicom.quiet_seconds = nan"]),
        ('[engine]\nkind = "tritom"', ["engine.kind = 'tritom'", '"embedded" or "triton"']),
        ('[node]\nae_title = "FAR TOO LONG A TITLE"', ["node.ae_title", "1 to 16 characters"]),
        ('[dicom]\nallowed_callers = ["CT1@"]', ["dicom.allowed_callers[0] = 'CT1@'", "CT1@10.0.0.5"]),
        (
            '[dicom]\nallowed_callers = ["PACS@10.0.0.300"]',
            ["dicom.allowed_callers[0]: '10.0.0.300' is neither an address nor a network"],
        ),
        ('[database]\nurl = "mysql://db"', ["database.url = 'mysql://db'", "sqlite:///"]),
        ('[database]\nurl = "sqlite://"', ["database.url = 'sqlite://'", "sqlite:///path/to"]),
        ('[database]\nurl = "sqlite:///"', ["database.url = 'sqlite:///'", "sqlite:///path/to"]),
        ('[database]\nurl_file = "absent"', ["absent cannot be read"]),
        ('[[destinations]]\nname = "a"', ["line 1: destinations[0].host is missing", "destinations[0].port"]),
        (
            '[[routes]]\nreader = "lungs"\nmatch = { Modality = "CT" }',
            ["line 2: routes[0].reader", "lung-nodules"],
        ),
        (
            '[[routes]]\nreader = "polyps"\nmatch = { Modality = "~(" }',
            ["line 3: routes[0].match.Modality", "missing )"],
        ),
        (
            '[[routes]]\nreader = "polyps"\nmatch = { Modalty = "CT" }',
            ["line 3: routes[0].match.Modalty: Modalty is no DICOM keyword; did you mean Modality?"],
        ),
        ("[web]\nport = 11112", ["web.port and dicom.port are both 11112"]),
        ("[node]\ndata_dir = here", ["is not valid TOML", "line 2", "quotes"]),
    ],
)
def test_what_cannot_be_used_is_named_with_what_is_allowed(
    tmp_path: Path, text: str, said: list[str]
) -> None:
    refused = refusal(tmp_path, text)
    assert all(words in refused for words in said), refused
    assert "?." not in refused


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[dicom]\nport = -1\n[web]\nport = -1\nhots = 'x'").count("\n") == 2


PEER = '[[{}]]\nname = "pacs"\nae_title = "PACS"\nhost = "{}"\nport = {}\n'


@pytest.mark.parametrize("kind", ["destinations", "archives"])
def test_two_peers_of_one_name_are_refused(tmp_path: Path, kind: str) -> None:
    peers = PEER.format(kind, "10.0.0.1", 104) + PEER.format(kind, "10.0.0.2", 104)
    assert "two are named 'pacs'" in refusal(tmp_path, peers)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_destination_that_is_this_node_is_refused(tmp_path: Path, host: str) -> None:
    assert "is this node itself" in refusal(tmp_path, PEER.format("destinations", host, 11112))
    assert load_settings(written(tmp_path, PEER.format("destinations", host, 11113))).destinations


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OVERREAD_DICOM__PORT", "many", "OVERREAD_DICOM__PORT: dicom.port = 'many'"),
        ("OVERREAD_DICOM__PROT", "104", "OVERREAD_DICOM__PROT: dicom.prot = '104' is not a setting"),
        ("OVERREAD_DICON__PORT", "104", "OVERREAD_DICON__PORT is not a setting"),
        ("OVERREAD_DICOM__ALLOWED_CALLERS", "CT1", "OVERREAD_DICOM__ALLOWED_CALLERS is not JSON"),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert said in str(refused.value)


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no settings file"):
        load_settings(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="UTF-8"):
        load_settings(tmp_path / "binary.toml")


def test_a_key_is_found_on_its_line() -> None:
    text = "a = 1\n[b]\nc = 2\n[[d]]\ne = 1\n[[d]]\n\ne = 2\n"
    assert [line_of(text, key) for key in [("a",), ("b", "c"), ("d", 0, "e"), ("d", 1, "e")]] == [1, 3, 5, 8]
    assert line_of(text, ("b", "missing")) == 2
    assert line_of(text, ("z",)) is None


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda page: page.name
)
def test_every_settings_example_of_the_documentation_can_be_used(tmp_path: Path, page: Path) -> None:
    for example in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL):
        load_settings(written(tmp_path, example))


def test_the_settings_of_the_containers_can_be_used() -> None:
    assert load_settings(ROOT / "deploy" / "overread.toml").destinations
