// A plugin for Storehand. It is run from its start each time there is a new answer, so it keeps nothing in variables that
// it wants to know later: memory is for that.
import { ask, log } from "storehand:plugin/door@0.1.0";

// Asks a capability. Where there is no answer yet, this does not return. Why something was not done is passed on in its
// own words, so that a person can have it made again.
function call(capability, input) {
  try {
    return JSON.parse(ask(capability, JSON.stringify(input)));
  } catch (error) {
    const { code, message } = error.payload ?? {};
    throw { tag: "fatal", val: `${message ?? error} (${code})` };
  }
}

function greet({ customer_id, name }) {
  // What the shop remembers for a plugin has the plugin's name in front.
  const times = call("memory.add", { key: `NAME/greeted/${customer_id}`, by: 1 }).value;
  log(`greeted for time ${times}`);
  return { text: `Hello ${name}`, times };
}

export const capabilities = {
  answer(name, input) {
    if (name !== "greeting.make") throw { tag: "invalid", val: `there is no ${name} here` };
    return JSON.stringify(greet(JSON.parse(input)));
  },
};
