"""deploy/kubernetes/kafka.yaml against the schemas that Strimzi itself makes."""

from typing import Any

import jsonschema
import pytest

from kubernetes_files import Manifest, manifests, of_kind
from strimzi_schemas import strimzi_schemas

Schemas = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Schemas:
    """Made once: it takes a start of Java."""
    return strimzi_schemas(tmp_path_factory.mktemp("strimzi"))


def check(schemas: Schemas, manifest: Manifest) -> None:
    jsonschema.validate(manifest, schemas[manifest["kind"]], jsonschema.Draft4Validator)


def test_every_object_of_strimzi_fits_its_schema(schemas: Schemas) -> None:
    ours = [manifest for manifest in manifests() if manifest["apiVersion"] == "kafka.strimzi.io/v1"]

    for manifest in ours:
        check(schemas, manifest)

    assert {manifest["kind"] for manifest in ours} == set(schemas)


def test_a_field_that_strimzi_does_not_know_and_a_wrong_value_are_refused(schemas: Schemas) -> None:
    topic = of_kind("KafkaTopic")["orders"]
    misspelt = {**topic, "spec": {**topic["spec"], "partition": 4}}
    wrong = {**topic, "spec": {**topic["spec"], "partitions": "four"}}

    with pytest.raises(jsonschema.ValidationError, match="'partition' was unexpected"):
        check(schemas, misspelt)
    with pytest.raises(jsonschema.ValidationError, match="'four' is not of type 'integer'"):
        check(schemas, wrong)
