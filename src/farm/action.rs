//! Actions as farms have them: the work, the files that it reads, and the properties of the worker.

use std::collections::BTreeMap;
use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bazel_remote_apis::google::protobuf;

use crate::course::RelPath;

use super::order::{ANSWER, COURSE, ORDER, OUT, Order, PARAMS, outputs};
use super::tree::{Blob, InputFile, tree};
use super::{NotMade, Options, client};

/// An action, ready to be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The digest of the action.
    pub digest: api::Digest,
    action: api::Action,
    /// Everything that it consists of.
    pub blobs: Vec<Blob>,
    /// The names of the files that it makes.
    pub outputs: Vec<String>,
    /// Its command, for messages.
    pub shown: String,
}

impl Prepared {
    /// Returns the action that does the work of an order with these files of the course. Equal work gives equal actions, on
    /// every machine.
    pub(super) fn new(
        order: &Order,
        files: &BTreeMap<RelPath, InputFile>,
        options: &Options,
    ) -> Result<Self, NotMade> {
        let text = serde_json::to_vec(order).map_err(|error| NotMade(error.to_string()))?;
        let plain = |bytes: Vec<u8>| InputFile {
            blob: Blob::new(bytes),
            is_executable: false,
        };
        let in_course = files.iter();
        let mut root: BTreeMap<String, InputFile> = in_course
            .map(|(path, file)| (format!("{COURSE}/{path}"), file.clone()))
            .collect();
        root.insert(ORDER.to_owned(), plain(text));
        root.insert(
            PARAMS.to_owned(),
            plain(format!("--request={ORDER}\n").into_bytes()),
        );
        let (input_root, mut blobs) = tree(root);

        let kind = order.work.kind().name();
        let outputs = outputs(&order.work);
        let mut output_paths: Vec<String> = outputs
            .iter()
            .map(|name| format!("{OUT}/{name}"))
            .chain([format!("{OUT}/{ANSWER}")])
            .collect();
        output_paths.sort();
        let platform = platform(options, kind);
        let arguments = [&options.command, "runner", kind, "@params"].map(str::to_owned);
        let shown = arguments.join(" ");
        let variables = options.environment.iter();
        #[allow(
            deprecated,
            reason = "servers of before version 2.2 read the platform here"
        )]
        let command = Blob::of(&api::Command {
            arguments: arguments.to_vec(),
            environment_variables: variables
                .map(|(name, value)| api::command::EnvironmentVariable {
                    name: name.clone(),
                    value: value.clone(),
                })
                .collect(),
            output_paths,
            platform: platform.clone(),
            ..Default::default()
        });
        let action = api::Action {
            command_digest: Some(command.digest.clone()),
            input_root_digest: Some(input_root),
            timeout: Some(protobuf::Duration {
                seconds: i64::try_from(options.timeout.as_secs()).unwrap_or(i64::MAX),
                nanos: 0,
            }),
            platform,
            ..Default::default()
        };
        blobs.push(command);
        let mut prepared = Self {
            digest: api::Digest::default(),
            action,
            blobs,
            outputs,
            shown,
        };
        prepared.finish();
        Ok(prepared)
    }

    /// Makes it an action that nobody has executed before: the result of an earlier one is not used.
    pub(super) fn make_new(&mut self) {
        self.action.salt = uuid::Uuid::new_v4().as_bytes().to_vec();
        self.finish();
    }

    /// Returns whether it is such an action.
    pub(super) fn is_new(&self) -> bool {
        !self.action.salt.is_empty()
    }

    fn finish(&mut self) {
        let action = Blob::of(&self.action);
        self.digest = action.digest.clone();
        self.blobs.push(action);
    }

    /// Returns how long it may take to send everything.
    pub(super) fn time_to_send(&self) -> Duration {
        client::time_for(self.blobs.iter().map(|blob| blob.bytes.len() as u64).sum())
    }
}

/// Returns the properties of workers for a kind of action, sorted by name as the format demands.
fn platform(options: &Options, kind: &str) -> Option<api::Platform> {
    let mut properties = options.platform.get("").cloned().unwrap_or_default();
    properties.extend(options.platform.get(kind).cloned().unwrap_or_default());
    let properties = properties.into_iter();
    let properties: Vec<_> = properties
        .map(|(name, value)| api::platform::Property { name, value })
        .collect();
    (!properties.is_empty()).then_some(api::Platform { properties })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::super::tests::{options, order};
    use super::*;

    #[test]
    fn equal_work_gives_equal_actions_and_other_properties_another() {
        let prepared =
            |options: &Options| Prepared::new(&order("A -> B"), &BTreeMap::new(), options).unwrap();
        let mut options = options();
        let first = prepared(&options);
        assert_eq!(first.digest, prepared(&options).digest);
        let mut new = prepared(&options);
        new.make_new();
        assert!(new.is_new() && new.digest != first.digest);
        let of_all = BTreeMap::from([("b".to_owned(), "1".to_owned())]);
        let of_kind = BTreeMap::from([("a".to_owned(), "2".to_owned())]);
        options.platform.insert(String::new(), of_all);
        options.platform.insert("plantuml".to_owned(), of_kind);
        let other = prepared(&options);
        assert_ne!(first.digest, other.digest);

        let find = |digest: &Option<api::Digest>| {
            let blob = other
                .blobs
                .iter()
                .find(|blob| Some(&blob.digest) == digest.as_ref());
            &*blob.unwrap().bytes
        };
        let action = api::Action::decode(find(&Some(other.digest.clone()))).unwrap();
        let command = api::Command::decode(find(&action.command_digest)).unwrap();
        assert_eq!(command.arguments, ["clm", "runner", "plantuml", "@params"]);
        assert_eq!(command.output_paths, ["out/image.png", "out/result.json"]);
        let properties = action.platform.unwrap().properties;
        let names: Vec<_> = properties.iter().map(|property| &*property.name).collect();
        assert_eq!(names, ["a", "b"]);
        let root = api::Directory::decode(find(&action.input_root_digest)).unwrap();
        let names: Vec<_> = root.files.iter().map(|file| &*file.name).collect();
        assert_eq!(names, ["params", "request.json"]);
    }
}
