//! The cache that machines share, as settings and the environment describe it.

use crate::config::{CacheMode, CacheSettings, Ci, FarmSettings, MAX_WAIT, env};
use crate::error::{Error, Result};
use crate::owner::Owner;
use crate::remote::{Address, Credentials, Options, Remote, Unusable};

/// Returns the shared cache of a course, if there is one and it is used: the one that is named, or else that of the farm.
/// Nothing is connected.
pub(super) fn remote(settings: &CacheSettings, farm: &FarmSettings) -> Result<Option<Remote>> {
    let ci = Ci::detect();
    let mode = settings.mode.unwrap_or(match &ci {
        Some(ci) if ci.is_pull_request => CacheMode::Read,
        _ => CacheMode::ReadWrite,
    });
    let named = settings.remote.as_deref().map(str::trim);
    let Some(text) = named
        .or_else(|| farm.address())
        .filter(|text| !text.is_empty() && mode != CacheMode::Off)
    else {
        return Ok(None);
    };
    let credentials = match named {
        Some(_) => credentials()?,
        None => super::farm::credentials()?,
    };
    let address = Address::parse(text).map_err(|why| {
        Error::usage(format!(
            "the address of the shared cache cannot be used: {why}"
        ))
        .hint(format!(
            "it is `remote` under `[cache]` in `clm.toml`, or the variable {}",
            env::CACHE_REMOTE
        ))
    })?;
    let options = Options {
        writes: mode == CacheMode::ReadWrite,
        max_wait: settings.max_wait.unwrap_or(MAX_WAIT),
        machine: variable(env::CACHE_LABEL)
            .unwrap_or_else(|| Owner::current().host_name().to_owned()),
        run: ci.and_then(|ci| ci.run),
    };
    Ok(Some(Remote::new(&address, credentials, options)))
}

/// Returns the secrets for the shared cache.
pub(super) fn credentials() -> Result<Credentials> {
    let credentials = match (variable(env::CACHE_TOKEN), variable(env::CACHE_USER)) {
        (Some(token), None) => Credentials::token(&token),
        (None, Some(user)) => {
            let password = variable(env::CACHE_PASSWORD).unwrap_or_default();
            Credentials::basic(&user, &password)
        }
        (None, None) => Ok(Credentials::default()),
        (Some(_), Some(_)) => {
            return Err(Error::usage(format!(
                "{} and {} are both set, and only one of them can be used",
                env::CACHE_TOKEN,
                env::CACHE_USER
            )));
        }
    };
    let headers = variable(env::CACHE_HEADERS).unwrap_or_default();
    let credentials = credentials.and_then(|credentials| credentials.with_headers(&headers));
    credentials.map_err(|why| unusable(&why, env::CACHE_HEADERS))
}

/// Returns the error about secrets that cannot be used. `headers` is the variable with headers.
pub(super) fn unusable(why: &Unusable, headers: &str) -> Error {
    match why {
        Unusable::Characters => {
            Error::usage(why.to_string()).hint("look for a line end in the value of the variable")
        }
        Unusable::NoHeader(_) => Error::usage(format!("{headers}: {why}")),
    }
}

/// Returns the value of a variable that is set and not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
