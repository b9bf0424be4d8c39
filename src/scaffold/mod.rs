//! What a new course and a new topic consist of: the names and contents of their files, and the entry in `course.xml`.
//!
//! Everything here is pure: `cli::new` looks at the disk and writes.

pub(crate) mod entry;

pub(crate) use entry::{Inserted, TopicEntry, insert_topic};
