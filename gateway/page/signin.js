import { NoSuchRun } from "./session.js";

/** The small form that asks for an API key; the key goes to `use` and is wiped from the form at once. */
export function askForKey(section, use) {
  const form = section.querySelector("form");
  const input = section.querySelector("input");
  const fault = section.querySelector(".fault");
  section.hidden = false;
  fault.hidden = true;
  input.focus();
  return new Promise((resolve, reject) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      const key = input.value.trim();
      input.value = "";
      if (!key) return;
      try {
        await use(key);
      } catch (refusal) {
        if (refusal instanceof NoSuchRun) {
          section.hidden = true;
          return void reject(refusal);
        }
        fault.textContent = refusal.message;
        fault.hidden = false;
        input.setAttribute("aria-invalid", "true");
        return void input.focus();
      }
      section.hidden = true;
      input.removeAttribute("aria-invalid");
      resolve();
    };
  });
}
