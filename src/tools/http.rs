//! Downloads over HTTP that continue where they were interrupted.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::Response;
use ureq::http::header::{CONTENT_RANGE, ETAG, LAST_MODIFIED};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// The end of the name of a file that is not complete.
pub(super) const PART: &str = ".part";
/// The end of the name of the file with the tag of the version that an incomplete file is of.
const TAG: &str = ".part-tag";
/// How long a connection may take. Short, because the ordinary clients are tried if there is none.
const CONNECT: Duration = Duration::from_secs(10);
/// How long nothing may arrive.
const SILENCE: Duration = Duration::from_secs(60);
/// How often a download is continued although nothing arrived since the last time.
const ATTEMPTS: u32 = 3;
/// More than any package has: what never ends must not fill the disk.
const LIMIT: u64 = 1 << 30;
/// More than any list has.
const TEXT_LIMIT: u64 = 1 << 20;

/// Why nothing, or not everything, was received.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server answered with this status.
    Status(u16),
    /// There is no connection, or no answer.
    Unreachable(String),
    /// The connection ended, again and again, before everything had arrived. What has arrived is kept.
    Interrupted(String),
    /// A file cannot be written.
    Local(PathBuf, std::io::Error),
}

/// A client with the system's certificates and the proxies of the environment.
pub(super) struct Http(Agent);

impl Http {
    /// Creates a client.
    pub(super) fn new() -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(5)
            .user_agent(concat!("clm/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build();
        Self(config.into())
    }

    /// Returns a short text.
    pub(super) fn text(&self, url: &str) -> Result<String, Failure> {
        let mut response = self.0.get(url).call().map_err(unreachable)?;
        match response.status().as_u16() {
            200 => {
                let mut text = String::new();
                let mut body = response.body_mut().as_reader().take(TEXT_LIMIT);
                body.read_to_string(&mut text)
                    .map_err(|error| Failure::Interrupted(error.to_string()))?;
                Ok(text)
            }
            status => Err(Failure::Status(status)),
        }
    }

    /// Downloads a file to `place`, with the end [`PART`] until it is complete: returns that path, and whether a part of
    /// it is from an earlier download. `progress` is called with the bytes that are here.
    pub(super) fn fetch(
        &self,
        url: &str,
        place: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(PathBuf, bool), Failure> {
        let mut part = Part::of(place);
        let is_continued = part.size() > 0;
        let mut attempts = 0;
        loop {
            let before = part.size();
            progress(before);
            let error = match self.attempt(url, &mut part, progress) {
                Ok(()) => return Ok((part.path, is_continued)),
                Err(error) => error,
            };
            // What cannot be continued at all is not tried again: the caller may have another way.
            if !matches!(error, Failure::Interrupted(_)) {
                return Err(error);
            }
            attempts = if part.size() > before {
                0
            } else {
                attempts + 1
            };
            if attempts == ATTEMPTS {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(300) * attempts);
        }
    }

    fn attempt(
        &self,
        url: &str,
        part: &mut Part,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Failure> {
        let here = part.size();
        let mut request = self.0.get(url).header("Accept-Encoding", "identity");
        if here > 0 {
            request = request.header("Range", format!("bytes={here}-"));
            // Another version of the file is sent as a whole.
            if let Some(tag) = part.tag() {
                request = request.header("If-Range", tag);
            }
        }
        let response = request.call().map_err(|error| match here {
            0 => unreachable(error),
            _ => Failure::Interrupted(error.to_string()),
        })?;
        let length = response.body().content_length();
        let expected = match response.status().as_u16() {
            206 if range(&response).is_some_and(|(start, _)| start == here) => {
                length.map(|length| here + length)
            }
            200 => {
                part.begin(tag_of(&response))?;
                length
            }
            // Everything is here already, or it is no part of what the server has now.
            416 if range(&response) == Some((here, here)) => return Ok(()),
            206 | 416 => {
                part.begin(None)?;
                return Err(Failure::Interrupted(
                    "its answer is not the part that was asked for".to_owned(),
                ));
            }
            status => return Err(Failure::Status(status)),
        };
        part.append(response.into_body(), progress)?;
        match expected {
            Some(expected) if part.size() < expected => {
                Err(Failure::Interrupted("the connection has ended".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

/// An incomplete file.
struct Part {
    path: PathBuf,
    tag: PathBuf,
}

impl Part {
    fn of(place: &Path) -> Self {
        Self {
            path: with_end(place, PART),
            tag: with_end(place, TAG),
        }
    }

    fn size(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    fn tag(&self) -> Option<String> {
        let tag = std::fs::read_to_string(&self.tag).ok()?;
        (!tag.is_empty()).then_some(tag)
    }

    /// Begins again, with the tag of another version.
    fn begin(&mut self, tag: Option<String>) -> Result<(), Failure> {
        // First the bytes: a new tag must never be beside old ones.
        File::create(&self.path).map_err(|error| Failure::Local(self.path.clone(), error))?;
        std::fs::write(&self.tag, tag.unwrap_or_default())
            .map_err(|error| Failure::Local(self.tag.clone(), error))
    }

    fn append(&mut self, body: Body, progress: &mut dyn FnMut(u64)) -> Result<(), Failure> {
        let local = |error| Failure::Local(self.path.clone(), error);
        let mut size = self.size();
        let mut file = File::options()
            .append(true)
            .open(&self.path)
            .map_err(local)?;
        let mut body = body.into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) => return Err(Failure::Interrupted(error.to_string())),
            };
            size += count as u64;
            if size > LIMIT {
                return Err(Failure::Unreachable(
                    "it sends more than any package has".to_owned(),
                ));
            }
            file.write_all(buffer.get(..count).unwrap_or_default())
                .map_err(local)?;
            progress(size);
        }
    }
}

/// Removes what is left of a download.
pub(super) fn forget(place: &Path) {
    // What cannot be removed is overwritten by the next download, or found to be something else.
    let _ = std::fs::remove_file(with_end(place, PART));
    let _ = std::fs::remove_file(with_end(place, TAG));
}

fn with_end(place: &Path, end: &str) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(end);
    place.with_file_name(name)
}

/// Returns what identifies a version of a file exactly; weak tags do not.
fn tag_of(response: &Response<Body>) -> Option<String> {
    let header = |name| response.headers().get(name)?.to_str().ok();
    let tag = header(ETAG).filter(|tag| !tag.starts_with("W/"));
    tag.or_else(|| header(LAST_MODIFIED)).map(str::to_owned)
}

/// Returns the first byte of a part, and the size of the whole, of a `Content-Range`. For a refusal, which has only the
/// size, both are the size.
fn range(response: &Response<Body>) -> Option<(u64, u64)> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (part, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    match part {
        "*" => size.parse().ok().map(|size| (size, size)),
        part => {
            let start = part.split_once('-')?.0.parse().ok()?;
            Some((start, size.parse().unwrap_or(0)))
        }
    }
}

/// Converts an error. Its text has no header, and so no secret.
fn unreachable(error: ureq::Error) -> Failure {
    Failure::Unreachable(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use super::*;

    const WHOLE: &str = "0123456789";

    /// Serves these answers, one a connection, and returns what was asked (range and condition).
    fn serve(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a.tgz", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = Vec::new();
                for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                    let line = line.unwrap().to_lowercase();
                    if line.is_empty() {
                        break;
                    }
                    if line.starts_with("range") || line.starts_with("if-range") {
                        lines.push(line);
                    }
                }
                lines.sort();
                asked.push(lines.join(", "));
                stream.write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        (url, server)
    }

    fn answer(status: &str, headers: &str, length: usize, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    }

    #[test]
    fn a_connection_that_ends_is_continued_with_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (url, server) = serve(vec![
            answer("200 OK", "ETag: \"a\"\r\n", 10, "0123"),
            answer(
                "206 Partial Content",
                "Content-Range: bytes 4-9/10\r\n",
                6,
                "456",
            ),
            answer(
                "206 Partial Content",
                "Content-Range: bytes 7-9/10\r\n",
                3,
                "789",
            ),
        ]);
        let mut seen = Vec::new();
        let place = dir.path().join("a.tgz");
        let (path, is_continued) = Http::new()
            .fetch(&url, &place, &mut |bytes| seen.push(bytes))
            .unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), WHOLE);
        assert!(!is_continued && !place.exists());
        assert!(seen.is_sorted() && seen.last() == Some(&10), "{seen:?}");
        assert_eq!(
            server.join().unwrap(),
            [
                "",
                "if-range: \"a\", range: bytes=4-",
                "if-range: \"a\", range: bytes=7-"
            ]
        );
        forget(&place);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_version_is_taken_as_a_whole_and_a_complete_file_is_not_sent_again() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a.tgz");
        let (url, server) = serve(vec![
            answer("200 OK", "ETag: W/\"weak\"\r\n", 10, WHOLE),
            answer(
                "416 Range Not Satisfiable",
                "Content-Range: bytes */10\r\n",
                0,
                "",
            ),
            answer(
                "416 Range Not Satisfiable",
                "Content-Range: bytes */5\r\n",
                0,
                "",
            ),
            answer("200 OK", "ETag: \"new\"\r\n", 5, "small"),
            answer("404 Not Found", "", 0, ""),
        ]);
        std::fs::write(with_end(&place, PART), "other bytes").unwrap();
        std::fs::write(with_end(&place, TAG), "\"old\"").unwrap();
        let http = Http::new();
        let fetch = || http.fetch(&url, &place, &mut |_| {});
        let (path, is_continued) = fetch().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), WHOLE);
        assert!(is_continued);
        fetch().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), WHOLE);
        fetch().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "small");
        let missing = fetch().unwrap_err();
        assert!(matches!(missing, Failure::Status(404)), "{missing:?}");
        let asked = server.join().unwrap();
        assert_eq!(asked[0], "if-range: \"old\", range: bytes=11-");
        assert_eq!(asked[1], "range: bytes=10-");
        assert_eq!(asked[3], "");
    }

    #[test]
    fn a_server_that_is_not_there_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a.tgz");
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let url = format!("http://{}/a.tgz", free.unwrap());
        let failed = Http::new().fetch(&url, &place, &mut |_| {}).unwrap_err();
        assert!(matches!(failed, Failure::Unreachable(_)), "{failed:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
