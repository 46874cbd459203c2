"""Tests of the text form of devices and addresses: it is read back unchanged, and other text is rejected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.device.spec import Address, Device, parse_address, parse_device
from nas.errors import DeviceError
from tests.device.strategies import addresses, devices


@given(addresses())
def test_an_address_is_read_back_unchanged(address: Address) -> None:
    assert parse_address(str(address)) == address
    assert parse_address(f"  {address}\n") == address


@given(devices())
def test_a_device_is_read_back_unchanged(device: Device) -> None:
    assert parse_device(str(device)) == device


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("cpu", Address()),
        ("cpu:", Address()),
        ("ssh://board?", Address(host="board")),
        ("CPU:threads=4", Address(Device(threads=4))),
        ("cpu:cores=3+1+1", Address(Device(cores=(1, 3)))),
        ("ssh://board", Address(host="board")),
        ("ssh://me@board:2222/", Address(host="me@board", port=2222)),
        ("ssh://me@board?cpu:threads=4", Address(Device(threads=4), "me@board")),
        ("ssh://board?cpu,python=~/nas/bin/python", Address(host="board", python="~/nas/bin/python")),
        ("ssh://board?cpu:python=/opt/py,threads=2", Address(Device(threads=2), "board", python="/opt/py")),
        (
            "ssh://board?cpu:threads=2,python=/opt/py,batch=3",
            Address(Device(threads=2, batch=3), "board", 0, "/opt/py"),
        ),
        ("ssh://10.0.0.7?cuda:precision=int8", Address(Device("CUDAExecutionProvider", precision="int8"), "10.0.0.7")),
    ],
)
def test_short_forms_that_users_write(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tpu",
        "cpu:threads",
        "cpu:threads=",
        "cpu:threads=0",
        "cpu:threads=-1",
        "cpu:threads=1.5",
        "cpu:threads=٣",
        "cpu:threads=99999999999999999999",
        "cpu:threads=2,threads=2",
        "cpu:cores=",
        "cpu:cores=1-3",
        "cpu:precision=fp16",
        "cpu:colour=red",
        "cpu,threads=4",
        "cpu:python=/bin/python",
        "ssh:",
        "ssh:/board",
        "ssh://",
        "ssh://?cpu",
        "ssh://board:99999",
        "ssh://board:port",
        "ssh://board?tpu",
        "ssh://board?cpu,threads=4",
        "ssh://board?cpu:python=/a,python=/b",
        "ssh://board?cpu,python=/a,threads=4",
        "ssh://board/folder",
    ],
)
def test_other_text_is_rejected(text: str) -> None:
    with pytest.raises(DeviceError) as refused:
        parse_address(text)
    assert refused.value.remedy


@pytest.mark.parametrize(
    "host",
    [
        "-oProxyCommand=touch${IFS}x",
        "-l",
        "me@-oProxyCommand",
        "a b",
        "a\nb",
        "a\x00b",
        "a'b",
        'a"b',
        "a;b",
        "a|b",
        "a&b",
        "$(a)",
        "`a`",
        "a>b",
        "a\\b",
        "a*b",
        "bücher",
    ],
)
def test_a_host_with_characters_special_to_ssh_or_a_shell_is_rejected(host: str) -> None:
    with pytest.raises(DeviceError, match="no host"):
        parse_address(f"ssh://{host}?cpu")


@pytest.mark.parametrize(
    "path",
    ["", "-c", "a b", "a\nb", "a;b", "$(a)", "`a`", "a|b", "a&b", "a>b", "'a'", '"a"', "a\\b", "a*", "a?", "(a)"],
)
def test_an_interpreter_with_characters_special_to_a_shell_is_rejected(path: str) -> None:
    for place in (f"ssh://board?cpu,python={path}", f"ssh://board?cpu:threads=2,python={path}"):
        with pytest.raises(DeviceError):
            parse_address(place)


@given(
    st.text(max_size=40) | st.text(alphabet="ssh://cpu?:=,@-threadspython0123 \n", max_size=60).map("ssh://{}".format)
)
def test_random_text_is_an_address_or_one_error(text: str) -> None:
    try:
        address = parse_address(text)
    except DeviceError:
        return
    assert parse_address(str(address)) == address
