//! `[farm]`: a build farm, and how it is used.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::error::Error;

use super::cache::{parse_age, parse_wait};
use super::{env, zero_or_one};

/// `[farm]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FarmSettings {
    /// The address of the farm: `grpc://` or `grpcs://`, a host, and the instance. The empty text means none.
    pub endpoint: Option<String>,
    /// Whether this machine makes something as well while the farm works. Otherwise it makes only what the farm cannot.
    pub local: bool,
    /// The number of actions that the farm is given at once.
    pub jobs: usize,
    /// How long the farm may take for an action, such as `"10 min"`, which is the default.
    #[serde(deserialize_with = "age")]
    pub timeout: Duration,
    /// How long actions may wait for a worker while none begins or ends, such as `"60 s"`, which is the default.
    #[serde(deserialize_with = "age")]
    pub max_queue: Duration,
    /// How long the farm may take to answer a question, such as `"5 s"`, which is the default.
    #[serde(deserialize_with = "wait")]
    pub max_wait: Duration,
    /// The program on the workers.
    pub command: String,
    /// Files and directories of the course whose actions are made here, since they need the network or services of this
    /// machine.
    pub here: Vec<String>,
    /// The properties that workers must have. A section in it, such as `[farm.platform.drawio]`, is for one kind of action.
    pub platform: BTreeMap<String, Property>,
    /// Variables of the program on the workers.
    pub environment: BTreeMap<String, String>,
}

/// A property of workers, or those for a kind of action.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Property {
    /// The value of a property.
    Value(String),
    /// The properties for a kind of action.
    OfKind(BTreeMap<String, String>),
}

impl Default for FarmSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            local: true,
            jobs: 256,
            timeout: Duration::from_secs(600),
            max_queue: Duration::from_secs(60),
            max_wait: Duration::from_secs(5),
            command: "clm".to_owned(),
            here: Vec::new(),
            platform: BTreeMap::new(),
            environment: BTreeMap::new(),
        }
    }
}

impl FarmSettings {
    /// Takes values from environment variables.
    pub(super) fn apply_env(
        &mut self,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), Error> {
        let text = |name: &str| lookup(name).map(|value| value.to_string_lossy().into_owned());
        if let Some(endpoint) = text(env::FARM) {
            self.endpoint = Some(endpoint);
        }
        if let Some(local) = text(env::FARM_LOCAL).filter(|local| !local.is_empty()) {
            self.local = zero_or_one(env::FARM_LOCAL, &local)?;
        }
        Ok(())
    }

    /// Returns the address, if there is one.
    pub(crate) fn address(&self) -> Option<&str> {
        let endpoint = self.endpoint.as_deref().map(str::trim);
        endpoint.filter(|endpoint| !endpoint.is_empty())
    }
}

fn age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)
        .map_err(|_| de::Error::custom("a time is a text with its unit, such as \"10 min\""))?;
    parse_age(&text)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is not a time; write it like `60 s` or `10 min`"
            ))
        })
}

fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)
        .map_err(|_| de::Error::custom("a time is a text with its unit, such as \"5 s\""))?;
    parse_wait(&text).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_of_all_kinds_or_of_one() {
        let settings: FarmSettings = toml::from_str(
            "endpoint = \"grpc://h:1/main\"\ntimeout = \"2 min\"\n[platform]\nOSFamily = \"linux\"\n[platform.drawio]\n\
             tools = \"browser\"\n",
        )
        .unwrap();
        assert_eq!(settings.address(), Some("grpc://h:1/main"));
        assert_eq!(settings.timeout, Duration::from_secs(120));
        assert_eq!(
            settings.platform["OSFamily"],
            Property::Value("linux".to_owned())
        );
        let drawio = BTreeMap::from([("tools".to_owned(), "browser".to_owned())]);
        assert_eq!(settings.platform["drawio"], Property::OfKind(drawio));
        for wrong in [
            "timeout = 3",
            "timeout = \"0 s\"",
            "max_wait = \"2 days\"",
            "jbos = 1",
        ] {
            assert!(toml::from_str::<FarmSettings>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_environment_names_another_farm_or_none() {
        let with = |name: &'static str, value: &'static str| {
            let mut settings: FarmSettings = toml::from_str("endpoint = \"grpc://a\"").unwrap();
            let applied = settings.apply_env(|asked| (asked == name).then(|| value.into()));
            applied.map(|()| settings)
        };
        assert_eq!(with("OTHER", "x").unwrap().address(), Some("grpc://a"));
        assert_eq!(
            with(env::FARM, "grpc://b").unwrap().address(),
            Some("grpc://b")
        );
        assert_eq!(with(env::FARM, " ").unwrap().address(), None);
        assert!(!with(env::FARM_LOCAL, "0").unwrap().local);
        assert_eq!(with(env::FARM_LOCAL, "no").unwrap_err().exit_code(), 2);
    }
}
