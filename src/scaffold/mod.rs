//! What a new course and a new topic consist of: the names and contents of their files, and the entry in `course.xml`.
//!
//! Everything here is pure: `cli::new` looks at the disk and writes.

mod added;
pub(crate) mod entry;

pub(crate) use added::{AddedTopic, added_topic, deck_id};
pub(crate) use entry::{Inserted, TopicEntry, insert_topic};
