"""Holds every example of a description against the schema that it is an example of. Argument: the description."""

import json
import sys

import jsonschema_rs


def examples(node, path=""):
    """Every schema with an example of it: media types, parameters, headers, and schemas with examples of their own."""
    if isinstance(node, list):
        for index, each in enumerate(node):
            yield from examples(each, f"{path}/{index}")
    if not isinstance(node, dict):
        return
    schema = node.get("schema")
    if schema is not None and "example" in node:
        yield path, schema, node["example"]
    if schema is not None:
        for name, example in node.get("examples", {}).items():
            yield f"{path}/{name}", schema, example["value"]
    elif isinstance(node.get("examples"), list):
        for example in node["examples"]:
            yield path, node, example
    for name, each in node.items():
        if name not in ("example", "examples"):
            yield from examples(each, f"{path}/{name}")


document = json.load(open(sys.argv[1], encoding="utf-8"))
count = 0
for where, schema, example in examples(document):
    # References start at the document, so its components go along.
    validator = jsonschema_rs.Draft202012Validator({"components": document["components"], **schema})
    for error in validator.iter_errors(example):
        sys.exit(f"{where}: {error}")
    count += 1
print(f"{count} examples")
