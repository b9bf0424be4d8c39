//! The farm, as settings and the environment describe it.

use std::collections::BTreeMap;

use crate::config::{FarmSettings, Property, SETTINGS_FILE, env};
use crate::course::RelPath;
use crate::error::{Error, Result};
use crate::events::ActionKind;
use crate::farm::{Farm, Options};
use crate::remote::{Address, Credentials, FarmAddress};

use super::shared;

/// Returns the farm of a course, if it has one. Nothing is connected.
pub(super) fn farm(settings: &FarmSettings) -> Result<Option<Farm>> {
    let Some(text) = settings.address() else {
        return Ok(None);
    };
    Ok(Some(Farm::new(
        address(text)?,
        credentials()?,
        options(settings)?,
    )))
}

/// Parses the address of a farm.
fn address(text: &str) -> Result<FarmAddress> {
    let why = match Address::parse(text) {
        Ok(Address::Farm(farm)) => return Ok(farm),
        Ok(_) => {
            "it is no address of a farm: write `grpc://host:port/instance`, or `grpcs://` with TLS"
                .to_owned()
        }
        Err(why) => why,
    };
    Err(
        Error::usage(format!("the address of the farm cannot be used: {why}")).hint(format!(
            "it is `endpoint` under `[farm]` in `clm.toml`, or the variable {}",
            env::FARM
        )),
    )
}

/// Returns the secrets for the farm: its own, or those of the shared cache.
pub(super) fn credentials() -> Result<Credentials> {
    let (token, headers) = (
        shared::variable(env::FARM_TOKEN),
        shared::variable(env::FARM_HEADERS),
    );
    if token.is_none() && headers.is_none() {
        return shared::credentials();
    }
    let credentials = match token {
        Some(token) => Credentials::token(&token),
        None => Ok(Credentials::default()),
    };
    let credentials =
        credentials.and_then(|known| known.with_headers(&headers.unwrap_or_default()));
    credentials.map_err(|why| shared::unusable(&why, env::FARM_HEADERS))
}

fn options(settings: &FarmSettings) -> Result<Options> {
    let wrong = |message: String| Error::usage(message).at(SETTINGS_FILE, None);
    if settings.jobs == 0 {
        return Err(wrong("`jobs` of `[farm]` must be at least 1".to_owned())
            .hint("to use no farm, remove `endpoint`, or set the variable CLM_FARM to nothing"));
    }
    let mut platform: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (name, property) in &settings.platform {
        match property {
            Property::Value(value) => {
                let of_all = platform.entry(String::new()).or_default();
                of_all.insert(name.clone(), value.clone());
            }
            Property::OfKind(properties) => {
                let mut kinds = ActionKind::OF_WORKERS.iter();
                if !kinds.any(|kind| kind.name() == name) {
                    return Err(wrong(format!(
                        "`[farm.platform.{name}]`: there is no kind of action `{name}`"
                    ))
                    .hint("the kinds are `execute`, `html`, `plantuml` and `drawio`"));
                }
                platform.insert(name.clone(), properties.clone());
            }
        }
    }
    let here = settings.here.iter().map(|path| {
        RelPath::written(path.trim_end_matches('/'))
            .map_err(|error| wrong(format!("`here` of `[farm]`: {error}")))
    });
    Ok(Options {
        command: settings.command.clone(),
        platform,
        environment: settings.environment.clone(),
        jobs: settings.jobs,
        timeout: settings.timeout,
        wait: settings.max_wait,
        max_queue: settings.max_queue,
        local: settings.local,
        here: here.collect::<Result<_>>()?,
    })
}
