//! The messages of Bazel's protocol for persistent workers, each preceded by its length: the way in which farms, and clm's own
//! processes, give one process many requests.

use std::io;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest message that is accepted, in bytes.
const LONGEST: u64 = 64 << 20;

/// `blaze.worker.WorkRequest`, with the fields that are used.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WorkRequest {
    /// The arguments after those with which the process was started.
    #[prost(string, repeated, tag = "1")]
    pub arguments: Vec<String>,
    /// The number of the request, which the response repeats.
    #[prost(int32, tag = "3")]
    pub request_id: i32,
    /// Whether the request with this number is to be cancelled; then there are no arguments.
    #[prost(bool, tag = "4")]
    pub cancel: bool,
    /// The directory of this request, below the working directory of the process.
    #[prost(string, tag = "6")]
    pub sandbox_dir: String,
}

/// `blaze.worker.WorkResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WorkResponse {
    /// The exit code that a process for this request alone would have had.
    #[prost(int32, tag = "1")]
    pub exit_code: i32,
    /// What it would have printed.
    #[prost(string, tag = "2")]
    pub output: String,
    /// The number of the request.
    #[prost(int32, tag = "3")]
    pub request_id: i32,
    /// Whether it was cancelled.
    #[prost(bool, tag = "4")]
    pub was_cancelled: bool,
}

/// Reads the next message; `None` at the end of the input.
pub(crate) async fn read<M: Message + Default>(
    input: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<M>> {
    let Some(length) = length(input).await? else {
        return Ok(None);
    };
    if length > LONGEST {
        return Err(wrong(format!("a message of {length} bytes is too long")));
    }
    let mut bytes = vec![0; length as usize];
    input.read_exact(&mut bytes).await?;
    let message = M::decode(&*bytes).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(message))
}

/// Writes a message.
pub(crate) async fn write(
    output: &mut (impl AsyncWrite + Unpin),
    message: &impl Message,
) -> io::Result<()> {
    output
        .write_all(&message.encode_length_delimited_to_vec())
        .await?;
    output.flush().await
}

/// Reads a length: seven bits in each byte, the lowest first. Returns `None` at the end of the input.
async fn length(input: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<u64>> {
    let mut length = 0_u64;
    for shift in (0..35).step_by(7) {
        let mut byte = [0];
        if input.read(&mut byte).await? == 0 {
            return match shift {
                0 => Ok(None),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        length |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return Ok(Some(length));
        }
    }
    Err(wrong("a message has no proper length".to_owned()))
}

fn wrong(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_arrive_as_they_were_sent() {
        let request = WorkRequest {
            arguments: vec!["@params".to_owned(), "x".repeat(300)],
            request_id: 7,
            cancel: false,
            sandbox_dir: "a".to_owned(),
        };
        let mut bytes = Vec::new();
        write(&mut bytes, &request).await.unwrap();
        write(&mut bytes, &WorkRequest::default()).await.unwrap();
        let mut input = &*bytes;
        assert_eq!(read(&mut input).await.unwrap(), Some(request));
        let empty: Option<WorkRequest> = read(&mut input).await.unwrap();
        assert_eq!(empty, Some(WorkRequest::default()));
        assert_eq!(read::<WorkRequest>(&mut input).await.unwrap(), None);
    }

    #[tokio::test]
    async fn damaged_messages_are_errors() {
        for bytes in [
            &b"\x05ab"[..],
            b"\x80",
            b"\xff\xff\xff\xff\xff\xff",
            b"\xff\xff\xff\x7f",
            b"\x01\xff",
        ] {
            let mut input = bytes;
            assert!(read::<WorkRequest>(&mut input).await.is_err(), "{bytes:?}");
        }
    }
}
