//! The models of widgets, handled as in `nbclient`: their state becomes metadata of the notebook, and an `Output`
//! widget captures outputs while it is active. Pure.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::bundle::output_of;
use super::connection::Message;
use super::renaming::Renaming;

/// The key of the widgets' state in a notebook's metadata.
const STATE: &str = "application/vnd.jupyter.widget-state+json";

/// All widgets of an execution.
#[derive(Debug, Default)]
pub(super) struct Widgets {
    /// The models by the ids of their comms, in the order in which they were opened.
    models: Vec<(String, Model)>,
    /// Requests whose outputs are captured by a widget: id of the request and of the widget. The last entry for a
    /// request is used.
    hooks: Vec<(String, String)>,
    /// `Output` widgets whose current outputs have not been sent to the kernel.
    unsynced: BTreeSet<String>,
    /// `Output` widgets whose outputs have not been copied to their state: copying them after every output would take
    /// quadratic time.
    stale: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Model {
    state: Map<String, Value>,
    /// Binary parts of the state, each with its path.
    buffers: Vec<Value>,
    shown: Option<Shown>,
}

/// The outputs of an `Output` widget.
#[derive(Debug, Default)]
struct Shown {
    outputs: Vec<Value>,
    clear_at_next: bool,
    /// The request whose outputs it captures.
    request: String,
}

impl Widgets {
    /// Handles a message of a comm.
    pub(super) fn hear(&mut self, message: &Message) {
        let content = &message.content;
        let (Some(id), Some(data)) = (content["comm_id"].as_str(), content.get("data")) else {
            return;
        };
        let state = data.get("state").and_then(Value::as_object);
        if let Some(state) = state {
            self.bring_up_to_date(id);
            let model = self.model(id);
            for (name, value) in state {
                model.state.insert(name.clone(), value.clone());
            }
            let paths = data.get("buffer_paths").and_then(Value::as_array);
            for (path, bytes) in paths.into_iter().flatten().zip(&message.buffers) {
                let data = BASE64.encode(bytes);
                let buffer = json!({"data": data, "encoding": "base64", "path": path});
                model.buffers.retain(|known| known["path"] != *path);
                model.buffers.push(buffer);
            }
        }
        match (message.kind.as_str(), state) {
            ("comm_open", Some(state)) if content["target_name"] == "jupyter.widget" => {
                let is_output = state.get("_model_module")
                    == Some(&json!("@jupyter-widgets/output"))
                    && state.get("_model_name") == Some(&json!("OutputModel"));
                let outputs = state.get("outputs").and_then(Value::as_array);
                self.model(id).shown = is_output.then(|| Shown {
                    outputs: outputs.cloned().unwrap_or_default(),
                    ..Shown::default()
                });
            }
            ("comm_msg", Some(state)) => {
                let request = state.get("msg_id").and_then(Value::as_str);
                if let Some(request) = request {
                    self.hook(id, request);
                }
            }
            _ => {}
        }
    }

    fn model(&mut self, id: &str) -> &mut Model {
        let known = self.models.iter().position(|(known, _)| known == id);
        let index = known.unwrap_or_else(|| {
            self.models.push((id.to_owned(), Model::default()));
            self.models.len() - 1
        });
        &mut self.models[index].1
    }

    /// Lets an `Output` widget capture the outputs of a request from now on; of none if `request` is empty.
    fn hook(&mut self, id: &str, request: &str) {
        let Some(shown) = &mut self.model(id).shown else {
            return;
        };
        let before = std::mem::replace(&mut shown.request, request.to_owned());
        if !request.is_empty() {
            self.hooks.push((request.to_owned(), id.to_owned()));
        } else if let Some(last) = self.hooks.iter().rposition(|(of, _)| *of == before) {
            self.hooks.remove(last);
        }
    }

    /// Gives an output to the widget that captures it; returns false if there is none.
    pub(super) fn captures(&mut self, message: &Message) -> bool {
        let hook = self.hooks.iter().rfind(|(of, _)| *of == message.parent);
        let Some((_, id)) = hook.cloned() else {
            return false;
        };
        let Some(shown) = &mut self.model(&id).shown else {
            return false;
        };
        match message.kind.as_str() {
            "clear_output" if message.content["wait"] == true => {
                shown.clear_at_next = true;
                return true;
            }
            "clear_output" => shown.outputs.clear(),
            "stream" | "display_data" | "execute_result" | "error" => {
                if std::mem::take(&mut shown.clear_at_next) {
                    shown.outputs.clear();
                }
                shown.add(&message.kind, message.content.clone());
            }
            _ => return false,
        }
        self.stale.insert(id.clone());
        self.unsynced.insert(id);
        true
    }

    /// Copies the outputs of an `Output` widget to its state.
    fn bring_up_to_date(&mut self, id: &str) {
        if !self.stale.remove(id) {
            return;
        }
        let model = self.model(id);
        if let Some(shown) = &model.shown {
            let outputs = Value::from(shown.outputs.clone());
            model.state.insert("outputs".to_owned(), outputs);
        }
    }

    /// Returns the updates to send to the kernel before the next cell: ids of comms and their data.
    pub(super) fn take_unsynced(&mut self) -> Vec<(String, Map<String, Value>)> {
        let ids = std::mem::take(&mut self.unsynced).into_iter();
        ids.map(|id| {
            self.bring_up_to_date(&id);
            let outputs = self.model(&id).state.get("outputs").cloned();
            let mut data = Map::new();
            data.insert("method".to_owned(), "update".into());
            data.insert("state".to_owned(), json!({"outputs": outputs}));
            data.insert("buffer_paths".to_owned(), json!([]));
            (id, data)
        })
        .collect()
    }

    /// Returns the names of widgets, which differ in every run, with fixed replacements.
    pub(super) fn accidental_names(&self) -> Vec<(String, String)> {
        let ids = (1..).zip(&self.models);
        // A short id could be part of any text.
        let ids = ids.filter(|(_, (id, _))| id.len() >= 16);
        ids.map(|(number, (id, _))| (id.clone(), fixed_name(number)))
            .collect()
    }

    /// Returns the `widgets` of a notebook's metadata; `None` if there are no widgets.
    pub(super) fn finish(mut self, renaming: &Renaming) -> Option<Value> {
        for id in self.stale.clone() {
            self.bring_up_to_date(&id);
        }
        if self.models.is_empty() {
            return None;
        }
        let mut all = Map::new();
        for (number, (_, model)) in (1..).zip(self.models) {
            if !model.state.contains_key("_model_name") {
                continue;
            }
            let part = |name: &str| model.state.get(name).cloned().unwrap_or_default();
            let mut widget = json!({
                "model_name": part("_model_name"),
                "model_module": part("_model_module"),
                "model_module_version": part("_model_module_version"),
                "state": model.state,
            });
            if !model.buffers.is_empty() {
                widget["buffers"] = model.buffers.into();
            }
            renaming.apply(&mut widget);
            all.insert(fixed_name(number), widget);
        }
        Some(json!({STATE: {"state": all, "version_major": 2, "version_minor": 0}}))
    }
}

/// Returns a fixed name of a widget, in the form of the kernel's names.
fn fixed_name(number: u32) -> String {
    format!("{number:032x}")
}

impl Shown {
    /// Adds an output; consecutive texts of the same stream become one.
    fn add(&mut self, kind: &str, mut content: Value) {
        if kind != "stream" {
            self.outputs.extend(output_of(kind, content));
            return;
        }
        // A kernel may send any value, not only objects.
        let mut take = |name: &str| content.get_mut(name).map(Value::take).unwrap_or_default();
        let (name, text) = (take("name"), take("text"));
        let Some(text) = text.as_str() else { return };
        if let Some(last) = self.outputs.last_mut()
            && last["output_type"] == "stream"
            && last["name"] == name
            && let Some(Value::String(old)) = last.get_mut("text")
        {
            old.push_str(text);
            return;
        }
        self.outputs
            .push(json!({"output_type": "stream", "name": name, "text": text}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: &str = "5a5ec8c0e9a949be8bd0b3a1b8f0a6f1";
    const OTHER: &str = "91c7e2d3a40b4a0f8d6f7c1e2b3a4d5e";

    fn message(kind: &str, parent: &str, content: Value) -> Message {
        Message {
            kind: kind.to_owned(),
            parent: parent.to_owned(),
            content,
            buffers: Vec::new(),
        }
    }

    fn print(text: &str) -> Message {
        message("stream", "r", json!({"name": "stdout", "text": text}))
    }

    fn update(id: &str, state: Value) -> Message {
        let data = json!({"method": "update", "state": state});
        message("comm_msg", "r", json!({"comm_id": id, "data": data}))
    }

    /// Returns widgets with an output widget that captures outputs.
    fn capturing() -> Widgets {
        let mut widgets = Widgets::default();
        let state =
            json!({"_model_module": "@jupyter-widgets/output", "_model_name": "OutputModel"});
        let open =
            json!({"comm_id": OUT, "target_name": "jupyter.widget", "data": {"state": state}});
        widgets.hear(&message("comm_open", "r", open));
        widgets.hear(&update(OUT, json!({"msg_id": "r"})));
        widgets
    }

    #[test]
    fn an_active_output_widget_takes_what_is_put_out() {
        let mut widgets = Widgets::default();
        let state = json!({"_model_module": "@jupyter-widgets/output", "_model_name": "OutputModel", "outputs": []});
        let open =
            json!({"comm_id": OUT, "target_name": "jupyter.widget", "data": {"state": state}});
        widgets.hear(&message("comm_open", "r", open));
        assert!(!widgets.captures(&print("before")));
        widgets.hear(&update(OUT, json!({"msg_id": "r"})));
        assert!(widgets.captures(&print("a")) && widgets.captures(&print("b\n")));
        assert!(!widgets.captures(&message("status", "r", json!({}))));
        let display = json!({"data": {"text/plain": "1"}, "metadata": {}, "transient": {}});
        assert!(widgets.captures(&message("display_data", "r", display)));
        widgets.hear(&update(OUT, json!({"msg_id": ""})));
        assert!(!widgets.captures(&print("after")));
        let [(id, data)] = <[_; 1]>::try_from(widgets.take_unsynced()).unwrap();
        assert_eq!(id, OUT);
        assert_eq!(data["state"]["outputs"][0]["text"], "ab\n");
        assert!(widgets.take_unsynced().is_empty());
        let names = Renaming(widgets.accidental_names());
        let all = widgets.finish(&names).unwrap();
        let models = &all[STATE]["state"];
        let model = &models["00000000000000000000000000000001"];
        assert_eq!(model["model_name"], "OutputModel");
        assert_eq!(model["state"]["outputs"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn content_that_is_no_object_is_no_output() {
        let mut widgets = capturing();
        for kind in ["stream", "display_data", "error", "clear_output"] {
            for content in [json!([1]), json!("text"), json!(null), json!(1)] {
                assert!(widgets.captures(&message(kind, "r", content)), "{kind}");
            }
        }
        let all = widgets.finish(&Renaming::default()).unwrap();
        let model = &all[STATE]["state"][fixed_name(1)];
        assert_eq!(model["state"]["outputs"], json!([]));
    }

    #[test]
    fn what_the_kernel_says_of_its_outputs_counts_more_than_what_was_shown_before() {
        let mut widgets = capturing();
        assert!(widgets.captures(&print("before")));
        widgets.hear(&update(OUT, json!({"outputs": []})));
        let all = widgets.finish(&Renaming::default()).unwrap();
        let model = &all[STATE]["state"][fixed_name(1)];
        assert_eq!(model["state"]["outputs"], json!([]));
    }

    #[test]
    fn models_keep_their_last_state_and_name_each_other_by_fixed_names() {
        let mut widgets = Widgets::default();
        for (id, value) in [
            (
                OUT,
                json!({"_model_name": "A", "layout": format!("IPY_MODEL_{OTHER}"), "v": 1}),
            ),
            (OTHER, json!({"_model_name": "B"})),
        ] {
            let open =
                json!({"comm_id": id, "target_name": "jupyter.widget", "data": {"state": value}});
            widgets.hear(&message("comm_open", "r", open));
        }
        let mut with_bytes = update(OUT, json!({"v": 2}));
        with_bytes.content["data"]["buffer_paths"] = json!([["image"]]);
        with_bytes.buffers.push(b"abc".to_vec());
        widgets.hear(&with_bytes);
        let renaming = Renaming(widgets.accidental_names());
        let all = widgets.finish(&renaming).unwrap();
        let model = &all[STATE]["state"][fixed_name(1)];
        assert_eq!(model["state"]["v"], 2);
        assert_eq!(
            model["state"]["layout"],
            format!("IPY_MODEL_{}", fixed_name(2))
        );
        assert_eq!(
            model["buffers"],
            json!([{"data": "YWJj", "encoding": "base64", "path": ["image"]}])
        );
        assert_eq!(Widgets::default().finish(&renaming), None);
    }
}
