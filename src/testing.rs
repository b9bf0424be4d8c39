//! What the tests of this project use. Nothing of it is stable, and the program needs none of it to be public.

pub mod compare {
    //! Comparing outputs of builds.
    pub use crate::compare::difference;
}

pub mod config {
    //! Settings.
    pub use crate::config::{Place, Settings, env_file};
}

pub mod course {
    //! The author's files.
    pub use crate::course::{Format, Kind, Lang, ProgLang, RelPath};

    pub mod deck {
        //! Decks.
        pub use crate::course::deck::{
            Cell, CellKind, Companion, Deck, DeckSource, View, attach, execution_cells, image_urls,
            notebook, read, references, render_apart_with, script,
        };

        pub mod plain {
            //! Notebooks outside of courses.
            pub use crate::course::deck::plain::{
                AsDeck, Plain, Stored, as_deck, notebook, notebook_with_outputs, read,
                reads_extension,
            };
        }

        pub mod cpp {
            //! C++ decks as programs.
            pub use crate::course::deck::cpp::program;
        }
    }

    pub mod spec {
        //! Specifications.
        pub use crate::course::spec::parse_leniently;
    }

    pub mod tree {
        //! The tree of sources.
        pub use crate::course::tree::title_of;
    }

    pub mod words {
        //! Texts in several languages.
        pub use crate::course::words::Localized;
    }
}

pub mod daemon {
    //! The daemon.
    pub mod client {
        //! Its clients.
        pub use crate::daemon::client::Client;
    }

    pub mod protocol {
        //! What they say.
        pub use crate::daemon::protocol::{Answer, Line, Request};
    }
}

pub mod digest {
    //! Digests and stamps.
    pub use crate::digest::{Digest, Stamp, sha256_of_file};
}

pub mod events {
    //! Events and diagnostics.
    pub use crate::diagnostic::{Diagnostic, Reported, Severity};
    pub use crate::events::{
        ActionKind, Contents, Counts, Event, Index, IndexClass, IndexFolder, IndexOutput,
        IndexSection, IndexTarget, PlannedCourse, Status,
    };
}

pub mod plan {
    //! Plans.
    pub use crate::plan::{KeyParts, is_library};
}

pub mod store {
    //! Records.
    pub use crate::store::{Finish, JobEnd, JobId, JobState, Lease, NewJob, Owner, Store};

    pub mod archive {
        //! Archives of results.
        pub use crate::store::archive::{ArchiveError, Imported, SCHEMA, Staged, unpack};
    }
}

pub mod tools {
    //! Renderers that are installed, or can be.
    pub use crate::tools::{Context, Needs, SetupOptions, setup};

    pub mod archive {
        //! Archives.
        pub use crate::tools::archive::{
            unbrotli_from, untar_brotli_from, untar_from, untar_gz_from, unzip_from,
        };
    }

    pub mod locate {
        //! What is installed.
        pub use crate::tools::locate::locate;
    }

    pub mod provision {
        //! What is not.
        pub use crate::tools::provision::{is_complete, setup};
    }
}

pub mod watch {
    //! Changes of files.
    pub use crate::watch::{CAPACITY, ChangeSet, Inputs, Settle, Tuning, WatchOptions, Watcher};
}

pub mod web {
    //! The preview.
    pub use crate::web::{Access, Preview, address, bind, inject, serve};

    pub mod guard {
        //! Which requests are answered.
        pub use crate::web::guard::{Verdict, judge};
    }
}

pub mod worker {
    //! Workers.
    pub use crate::worker::{
        Outcome, Progress, Renderers, Request, Work, Worker, WorkerError, template,
    };

    pub mod drawio {
        //! draw.io.
        pub mod answer {
            //! What its page answers.
            pub use crate::worker::drawio::answer::PageAnswer;
        }

        pub mod document {
            //! Its files.
            pub use crate::worker::drawio::document::check;
        }
    }

    pub mod notebook {
        //! Notebooks.
        pub use crate::worker::notebook::{
            HtmlConfig, KernelConfig, MAX_STREAM_BYTES, replay, start_html_worker,
            start_kernel_worker,
        };
    }

    pub mod plantuml {
        //! PlantUML.
        pub use crate::worker::plantuml::{Place, found, start};
    }

    pub mod pool {
        //! The pool of workers.
        pub use crate::worker::pool::{Pool, PoolConfig, WorkerEvent, WorkerState};
    }

    pub mod protocol {
        //! The protocol of workers.
        pub use crate::worker::protocol::{
            FromWorker, Hello, Lines, OutputMessage, PROTOCOL, ProgressMessage, ProtocolWorker,
            RequestLimits, ResultMessage, ToWorker, WorkMessage,
        };
    }

    pub mod renderers {
        //! Renderers as they were found.
        pub use crate::worker::renderers::DrawioTool;
    }

    pub mod request {
        //! Requests and their outcomes.
        pub use crate::worker::request::{
            CodeCell, DrawioWork, ExecuteWork, Executed, HtmlWork, ImageFormat, Outcome,
            OutcomeStatus, Page, PlantumlWork,
        };
    }
}
