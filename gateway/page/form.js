/** A form made from a schema by the library `@json-editor/json-editor`, or a JSON text field where that cannot be. */
import { element } from "./element.js";
import { plainForm } from "./plain.js";
import { Undrawable, drawable, filled, isObject } from "./schema.js";
import { REQUIRED, themed } from "./theme.js";

const LIBRARY = new URL("jsoneditor.js", import.meta.url).href;
let loading = null;
let forms = 0;

/** The library, loaded when the first question needs it. */
function library() {
  loading ??= new Promise((resolve, reject) => {
    const script = element("script", { src: LIBRARY, onload: () => resolve(themed(window.JSONEditor)) });
    script.addEventListener("error", () => reject(new Undrawable("the form library was not installed")));
    document.head.append(script);
  }).catch((fault) => {
    loading = null;
    throw fault;
  });
  return loading;
}

/**
 * Draws the form of `schema` into `holder`, filled in with `values`.
 *
 * It has `read()`, which throws an Error with words for the person if what is typed is no answer; `fault(fault)`, which
 * shows a fault of the server at its field and gives back what leads there; `clear()`, `disable(off)`, `close()`.
 */
export async function drawForm(holder, schema, values) {
  try {
    return await libraryForm(holder, drawable(schema), values);
  } catch (fault) {
    holder.replaceChildren();
    const why = fault instanceof Undrawable ? fault.message : "the form library cannot draw it";
    return plainForm(holder, schema, values, `This question has no form, because of its schema: ${why}.`);
  }
}

async function libraryForm(holder, schema, values) {
  const JSONEditor = await library();
  const root = `answer-${(forms += 1)}`;
  const editor = new JSONEditor(holder, {
    schema: allShown(schema),
    required_by_default: true,
    theme: "hocket",
    form_name_root: root,
    ...(values === undefined ? {} : { startval: values }),
    ajax: false,
    disable_array_delete_all_rows: true,
    disable_array_delete_last_row: true,
    disable_array_reorder: true,
    disable_collapse: true,
    disable_edit_json: true,
    disable_properties: true,
    disable_theme_rules: true,
    no_additional_properties: true,
    show_errors: "never",
  });
  await editor.promise;
  const shown = [];
  return {
    read: () => filled(schema, editor.getValue()),
    fault({ path, message }) {
      const steps = pointer(path);
      let field = editor.getEditor([root, ...steps].join("."));
      if (isObject(schema.properties) && steps.length === 0) field = named(editor, schema, message) ?? field;
      if (!field || field === editor.root) return { label: null, go: null };
      const input = field.input ?? field.container.querySelector("input, select, textarea, button");
      shown.push(mark(field, input, message, `${root}-fault-${shown.length}`));
      return { label: field.getTitle().replace(REQUIRED, ""), go: () => input?.focus() };
    },
    clear: () => shown.splice(0).forEach((undo) => undo()),
    disable: (off) => (off ? editor.disable() : editor.enable()),
    close() {
      // a field that goes while it is typed in still tells of its change, to a library that has forgotten everything
      if (holder.contains(document.activeElement)) document.activeElement.blur();
      editor.destroy();
    },
  };
}

/** The library hides an optional field without a value once it is given any; so none is optional to it, but to us. */
function allShown({ required, properties, items, oneOf, ...schema }) {
  if (items) schema.items = allShown(items);
  if (oneOf) schema.oneOf = oneOf.map(allShown);
  if (properties) {
    schema.properties = {};
    for (const [name, one] of Object.entries(properties)) {
      const shown = allShown(one);
      const needed = required?.includes(name) && shown.format !== "checkbox";
      schema.properties[name] = needed ? { ...shown, title: shown.title + REQUIRED } : shown;
    }
  }
  return schema;
}

/** The field that is missing is not there to be pointed at: the message of its object names it. */
function named(editor, schema, message) {
  const name = Object.keys(schema.properties).find((one) => message.includes(`"${one}"`) || message.includes(`'${one}'`));
  return name === undefined ? null : editor.getEditor(`${editor.root.path}.${name}`);
}

function mark(field, input, message, id) {
  const note = element("p", { class: "fault", id }, message);
  (field.control ?? field.container).append(note);
  const before = input?.getAttribute("aria-describedby");
  input?.setAttribute("aria-invalid", "true");
  input?.setAttribute("aria-describedby", [before, id].filter(Boolean).join(" "));
  return () => {
    note.remove();
    input?.removeAttribute("aria-invalid");
    if (before) input?.setAttribute("aria-describedby", before);
    else input?.removeAttribute("aria-describedby");
  };
}

/** A path as the server may write it: a JSON pointer, `$.a.b[0]`, or a list of steps. */
export function pointer(path) {
  if (Array.isArray(path)) return path.map(String);
  if (typeof path !== "string" || path === "" || path === "$") return [];
  if (path.startsWith("/")) return path.slice(1).split("/").map((one) => one.replaceAll("~1", "/").replaceAll("~0", "~"));
  return path.replace(/^\$\.?/, "").split(/[.[\]]+/).filter(Boolean);
}
