"""A plugin for Storehand. It is run from its start each time there is a new answer, so it keeps nothing in variables that
it wants to know later: memory is for that."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import door
from wit_world.imports.types import Error_Fatal, Error_Invalid, Event


def ask(capability: str, **asked):
    """Asks a capability. Where there is no answer yet, this does not return. Why something was not done is passed on in its
    own words, so that a person can have it made again."""
    try:
        return json.loads(door.ask(capability, json.dumps(asked), None))
    except Err as error:
        failure = error.value
        raise Err(Error_Fatal(f"{failure.message} ({failure.code})")) from None


def greet(customer_id: str, name: str) -> dict:
    # What the shop remembers for a plugin has the plugin's name in front.
    times = ask("memory.add", key=f"NAME/greeted/{customer_id}", by=1)["value"]
    door.log(f"greeted for time {times}")
    return {"text": f"Hello {name}", "times": times}


class Capabilities(exports.Capabilities):
    def answer(self, name: str, input: str, event: Event) -> str:
        if name != "greeting.make":
            raise Err(Error_Invalid(f"there is no {name} here"))
        return json.dumps(greet(**json.loads(input)))
