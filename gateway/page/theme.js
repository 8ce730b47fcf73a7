/** How the form library draws: plain elements with labels tied to them, no styles of its own, and text only as text. */
import { element } from "./element.js";

/** What is said behind the name of a field that must be filled in. */
export const REQUIRED = " (required)";

let made = null;

/** The library, taught our theme. */
export function themed(JSONEditor) {
  if (made === JSONEditor) return JSONEditor;
  made = JSONEditor;
  // it would read every title and value as HTML in order to strip it; what is only ever set as text needs no stripping
  JSONEditor.AbstractEditor.prototype.cleanText = (text) => String(text ?? "");
  JSONEditor.AbstractEditor.prototype.purify = (value) => value;
  // and it would put a 0 where nobody wrote a number, and the first choice where nobody chose
  const usual = JSONEditor.AbstractEditor.prototype.getDefault;
  JSONEditor.AbstractEditor.prototype.getDefault = function getDefaultOrNothing() {
    const { schema } = this;
    if (schema.default === undefined && schema.enum) return undefined;
    return schema.default === undefined && /^(number|integer)$/.test(schema.type) ? "" : usual.call(this);
  };
  JSONEditor.defaults.languages.en.default_array_item_title = "entry";
  const { select } = JSONEditor.defaults.editors;
  const typecast = select.prototype.typecast;
  select.prototype.typecast = function typecastChosen(value) {
    return value === undefined ? undefined : typecast.call(this, value);
  };
  JSONEditor.defaults.themes.hocket = theme(JSONEditor.AbstractTheme);
  return JSONEditor;
}

function theme(AbstractTheme) {
  return class Theme extends AbstractTheme {
    constructor(editor) {
      super(editor, { disable_theme_rules: true });
    }

    cleanText(text) {
      return String(text ?? "");
    }

    getFormInputLabel(text) {
      return element("label", {}, text);
    }

    getCheckboxLabel(text) {
      return element("label", {}, text);
    }

    getOptInCheckbox() {
      const [label, checkbox] = [element("label", {}), element("input", { type: "checkbox" })];
      return { label, checkbox, container: element("span", { hidden: true }, checkbox, label) };
    }

    getFormControl(label, input, description, info, formName) {
      const id = (formName ?? input.id ?? "").replace(/\s/g, "_");
      const row = element("div", { class: input.type === "checkbox" ? "field check" : "field" });
      if (id) input.id = id;
      if (label && id) label.htmlFor = id;
      if (label) row.append(label);
      if (description) {
        description.id = `${id}-description`;
        input.setAttribute("aria-describedby", description.id);
      }
      row.append(...[description, input].filter(Boolean));
      if (label?.textContent.endsWith(REQUIRED) && input.type !== "checkbox") input.setAttribute("aria-required", "true");
      return row;
    }

    getMultiCheckboxHolder(controls, label, description) {
      const set = element("fieldset", { class: "field" }, element("legend", {}, label?.textContent ?? ""));
      if (description) set.append(description);
      set.append(...Object.values(controls));
      return set;
    }

    getFormCheckboxControl(label, input) {
      label.prepend(input);
      return element("div", { class: "field check" }, label);
    }

    getHeader(text) {
      const title = element("div", { class: "group-title" });
      title.append(text);
      return title;
    }

    getIndentedPanel() {
      return element("div", { class: "group" });
    }

    getTopIndentedPanel() {
      return this.getIndentedPanel();
    }

    getChildEditorHolder() {
      return element("div", { class: "entry" });
    }

    getDescription(text) {
      return element("p", { class: "hint" }, text);
    }

    getHiddenLabel(text) {
      const told = text.endsWith(" switcher") ? "Kind of answer" : text;
      return element("label", { class: "unseen" }, told);
    }

    getHiddenText(text) {
      return element("span", { class: "unseen" }, text);
    }

    visuallyHidden(node) {
      node?.classList.add("unseen");
    }

    getButton(text, icon, title) {
      return element("button", { type: "button", class: "small", title: title === text ? null : title }, text);
    }

    disableHeader() {}

    disableLabel() {}

    enableHeader() {}

    enableLabel() {}

    addInputError() {}

    removeInputError() {}
  };
}
