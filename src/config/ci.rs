//! The pipeline that clm runs in, as its environment tells.

/// A system that runs pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// GitHub Actions, and systems that run its workflows (Forgejo, Gitea, act).
    GitHub,
    /// GitLab CI.
    GitLab,
    /// Azure Pipelines.
    Azure,
    /// Any other: clm has no special output for it.
    Other,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ci {
    /// Its system.
    pub system: System,
    /// Whether it builds a change that was proposed and is not merged yet: its author may be a stranger.
    pub is_pull_request: bool,
    /// The address of the job, or another label, in one line.
    pub run: Option<String>,
}

impl Ci {
    /// Returns the pipeline of this process.
    pub(crate) fn detect() -> Option<Self> {
        Self::of(|name| std::env::var(name).ok())
    }

    /// Returns the pipeline that an environment describes, or `None` if there is none. `lookup` returns the values of
    /// variables.
    pub(crate) fn of(lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let set = |name: &str| {
            let value = lookup(name)?.trim().to_owned();
            let is_none = ["", "false", "0"]
                .iter()
                .any(|no| value.eq_ignore_ascii_case(no));
            (!is_none).then_some(value)
        };
        let known = KNOWN.iter().find(|known| {
            let (name, expected) = known.marker;
            set(name).is_some_and(|value| expected.is_none_or(|expected| expected == value))
        });
        let Some(known) = known else {
            return set("CI").map(|_| Self {
                system: System::Other,
                is_pull_request: false,
                run: None,
            });
        };
        let is_pull_request = known.requests.iter().any(|name| set(name).is_some())
            || known.events.iter().any(|(name, event)| {
                set(name).is_some_and(|value| value.to_ascii_lowercase().starts_with(event))
            });
        let run = known.run.iter().find_map(|parts| address(parts, &set));
        Some(Self {
            system: known.system,
            is_pull_request,
            run,
        })
    }
}

/// What is known of a system.
struct Known {
    system: System,
    /// The variable that is set in its pipelines, with its value if any other means something else.
    marker: (&'static str, Option<&'static str>),
    /// Variables that are set only for proposed changes.
    requests: &'static [&'static str],
    /// Variables with the beginnings of those values, in small letters, that mean a proposed change.
    events: &'static [(&'static str, &'static str)],
    /// Ways to name the job, best first: variables (which begin with `$`) and texts between them.
    run: &'static [&'static [&'static str]],
}

const KNOWN: [Known; 16] = [
    Known {
        system: System::GitHub,
        marker: ("GITHUB_ACTIONS", None),
        requests: &["GITHUB_HEAD_REF"],
        events: &[("GITHUB_EVENT_NAME", "pull_request")],
        run: &[&[
            "$GITHUB_SERVER_URL",
            "/",
            "$GITHUB_REPOSITORY",
            "/actions/runs/",
            "$GITHUB_RUN_ID",
        ]],
    },
    Known {
        system: System::GitLab,
        marker: ("GITLAB_CI", None),
        requests: &["CI_MERGE_REQUEST_IID", "CI_EXTERNAL_PULL_REQUEST_IID"],
        events: &[
            ("CI_PIPELINE_SOURCE", "merge_request"),
            ("CI_PIPELINE_SOURCE", "external_pull_request"),
        ],
        run: &[&["$CI_JOB_URL"], &["$CI_PIPELINE_URL"]],
    },
    Known {
        system: System::Azure,
        marker: ("TF_BUILD", None),
        requests: &["SYSTEM_PULLREQUEST_PULLREQUESTID"],
        events: &[("BUILD_REASON", "pullrequest")],
        run: &[&[
            "$SYSTEM_COLLECTIONURI",
            "$SYSTEM_TEAMPROJECT",
            "/_build/results?buildId=",
            "$BUILD_BUILDID",
        ]],
    },
    other(
        ("CIRCLECI", None),
        &["CIRCLE_PULL_REQUEST", "CIRCLE_PR_NUMBER"],
        &[],
        &[&["$CIRCLE_BUILD_URL"]],
    ),
    other(
        ("TRAVIS", None),
        &["TRAVIS_PULL_REQUEST"],
        &[("TRAVIS_EVENT_TYPE", "pull_request")],
        &[&["$TRAVIS_JOB_WEB_URL"], &["$TRAVIS_BUILD_WEB_URL"]],
    ),
    other(
        ("BUILDKITE", None),
        &["BUILDKITE_PULL_REQUEST"],
        &[],
        &[
            &["$BUILDKITE_BUILD_URL", "#", "$BUILDKITE_JOB_ID"],
            &["$BUILDKITE_BUILD_URL"],
        ],
    ),
    other(
        ("APPVEYOR", None),
        &["APPVEYOR_PULL_REQUEST_NUMBER"],
        &[],
        &[&[
            "$APPVEYOR_URL",
            "/project/",
            "$APPVEYOR_ACCOUNT_NAME",
            "/",
            "$APPVEYOR_PROJECT_SLUG",
            "/builds/",
            "$APPVEYOR_BUILD_ID",
        ]],
    ),
    other(
        ("BITBUCKET_BUILD_NUMBER", None),
        &["BITBUCKET_PR_ID"],
        &[],
        &[&[
            "$BITBUCKET_GIT_HTTP_ORIGIN",
            "/pipelines/results/",
            "$BITBUCKET_BUILD_NUMBER",
        ]],
    ),
    // Before Drone, whose variables it may also set.
    other(
        ("CI", Some("woodpecker")),
        &["CI_COMMIT_PULL_REQUEST"],
        &[("CI_PIPELINE_EVENT", "pull_request")],
        &[&["$CI_PIPELINE_URL"]],
    ),
    other(
        ("DRONE", None),
        &["DRONE_PULL_REQUEST"],
        &[("DRONE_BUILD_EVENT", "pull_request")],
        &[&["$DRONE_BUILD_LINK"]],
    ),
    other(
        ("CIRRUS_CI", None),
        &["CIRRUS_PR"],
        &[],
        &[&["https://cirrus-ci.com/task/", "$CIRRUS_TASK_ID"]],
    ),
    other(
        ("CODEBUILD_BUILD_ID", None),
        &[],
        &[("CODEBUILD_WEBHOOK_EVENT", "pull_request")],
        &[&["$CODEBUILD_BUILD_URL"], &["$CODEBUILD_BUILD_ID"]],
    ),
    other(
        ("SEMAPHORE", None),
        &["SEMAPHORE_GIT_PR_NUMBER"],
        &[("SEMAPHORE_GIT_REF_TYPE", "pull-request")],
        &[&["$SEMAPHORE_JOB_ID"]],
    ),
    other(
        ("TEAMCITY_VERSION", None),
        &["TEAMCITY_PULLREQUEST_NUMBER"],
        &[],
        &[&["$BUILD_URL"], &["$BUILD_NUMBER"]],
    ),
    // The last two, since agents of other systems may run on machines of Jenkins.
    other(
        ("JENKINS_URL", None),
        &["CHANGE_ID", "ghprbPullId"],
        &[],
        &[&["$BUILD_URL"], &["$BUILD_TAG"]],
    ),
    other(
        ("JENKINS_HOME", None),
        &["CHANGE_ID", "ghprbPullId"],
        &[],
        &[&["$BUILD_URL"], &["$BUILD_TAG"]],
    ),
];

/// Returns a system without output of its own.
const fn other(
    marker: (&'static str, Option<&'static str>),
    requests: &'static [&'static str],
    events: &'static [(&'static str, &'static str)],
    run: &'static [&'static [&'static str]],
) -> Known {
    Known {
        system: System::Other,
        marker,
        requests,
        events,
        run,
    }
}

/// Puts an address together, or returns `None` if a variable is missing.
fn address(parts: &[&str], set: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut text = String::new();
    for part in parts {
        match part.strip_prefix('$') {
            Some(name) => text += &set(name)?,
            None => text += part,
        }
    }
    // Names of projects may have spaces. Line breaks would end the line of a log or the header of a request.
    let encoded = text.replace(' ', "%20");
    let in_one_line = encoded.chars().filter(|char| !char.is_control()).collect();
    Some(in_one_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ci(variables: &[(&str, &str)]) -> Option<Ci> {
        Ci::of(|name| {
            let mut found = variables.iter().filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| (*value).to_owned())
        })
    }

    /// Compares what is known of pull requests for pairs of environments of one system.
    fn compare(system: System, base: &[(&str, &str)], cases: &[(&str, &str, bool)]) {
        let alone = ci(base).unwrap();
        assert_eq!(
            (alone.system, alone.is_pull_request),
            (system, false),
            "{base:?}"
        );
        for (name, value, expected) in cases {
            let found = ci(&[base, &[(name, value)]].concat()).unwrap();
            assert_eq!(found.system, system, "{name}={value}");
            assert_eq!(found.is_pull_request, *expected, "{base:?} {name}={value}");
        }
    }

    #[test]
    fn without_a_pipeline_there_is_none() {
        assert_eq!(ci(&[]), None);
        assert_eq!(ci(&[("CI", ""), ("HOME", "/root")]), None);
        assert_eq!(ci(&[("CI", "false"), ("GITHUB_ACTIONS", "")]), None);
        // Variables of a system without the system.
        assert_eq!(
            ci(&[("CI_MERGE_REQUEST_IID", "3"), ("CHANGE_ID", "3")]),
            None
        );
    }

    #[test]
    fn pull_requests_of_each_system_are_known() {
        compare(
            System::GitHub,
            &[("CI", "true"), ("GITHUB_ACTIONS", "true")],
            &[
                ("GITHUB_EVENT_NAME", "push", false),
                ("GITHUB_EVENT_NAME", "schedule", false),
                ("GITHUB_EVENT_NAME", "pull_request", true),
                ("GITHUB_EVENT_NAME", "pull_request_target", true),
                ("GITHUB_HEAD_REF", "", false),
                ("GITHUB_HEAD_REF", "patch-1", true),
            ],
        );
        compare(
            System::GitLab,
            &[("CI", "true"), ("GITLAB_CI", "true")],
            &[
                ("CI_PIPELINE_SOURCE", "push", false),
                ("CI_PIPELINE_SOURCE", "merge_request_event", true),
                ("CI_PIPELINE_SOURCE", "external_pull_request_event", true),
                ("CI_MERGE_REQUEST_IID", "7", true),
            ],
        );
        compare(
            System::Azure,
            &[("TF_BUILD", "True")],
            &[
                ("BUILD_REASON", "IndividualCI", false),
                ("BUILD_REASON", "PullRequest", true),
            ],
        );
    }

    #[test]
    fn pull_requests_of_systems_without_output_of_their_own_are_known() {
        let github = "https://github.com/o/n/pull/1";
        type Variable = (&'static str, &'static str);
        let systems: [(&[Variable], Variable, Variable); 11] = [
            (
                &[("CIRCLECI", "true")],
                ("CIRCLE_PULL_REQUEST", ""),
                ("CIRCLE_PULL_REQUEST", github),
            ),
            (
                &[("TRAVIS", "true")],
                ("TRAVIS_PULL_REQUEST", "false"),
                ("TRAVIS_PULL_REQUEST", "12"),
            ),
            (
                &[("BUILDKITE", "true")],
                ("BUILDKITE_PULL_REQUEST", "false"),
                ("BUILDKITE_PULL_REQUEST", "12"),
            ),
            (
                &[("JENKINS_URL", "http://j/")],
                ("CHANGE_ID", ""),
                ("CHANGE_ID", "12"),
            ),
            (
                &[("JENKINS_HOME", "/j")],
                ("BRANCH_NAME", "main"),
                ("CHANGE_ID", "12"),
            ),
            (
                &[("DRONE", "true")],
                ("DRONE_BUILD_EVENT", "push"),
                ("DRONE_BUILD_EVENT", "pull_request"),
            ),
            (
                &[("CI", "woodpecker"), ("DRONE", "true")],
                ("CI_PIPELINE_EVENT", "push"),
                ("CI_PIPELINE_EVENT", "pull_request_closed"),
            ),
            (
                &[("BITBUCKET_BUILD_NUMBER", "5")],
                ("BITBUCKET_BRANCH", "x"),
                ("BITBUCKET_PR_ID", "5"),
            ),
            (
                &[("APPVEYOR", "True")],
                ("APPVEYOR_REPO_BRANCH", "x"),
                ("APPVEYOR_PULL_REQUEST_NUMBER", "5"),
            ),
            (
                &[("CODEBUILD_BUILD_ID", "a:1")],
                ("CODEBUILD_WEBHOOK_EVENT", "PUSH"),
                ("CODEBUILD_WEBHOOK_EVENT", "PULL_REQUEST_UPDATED"),
            ),
            (
                &[("SEMAPHORE", "true")],
                ("SEMAPHORE_GIT_REF_TYPE", "branch"),
                ("SEMAPHORE_GIT_REF_TYPE", "pull-request"),
            ),
        ];
        for (base, no, yes) in systems {
            compare(
                System::Other,
                base,
                &[(no.0, no.1, false), (yes.0, yes.1, true)],
            );
        }
        compare(System::Other, &[("CI", "true")], &[("CI", "1", false)]);
    }

    #[test]
    fn a_job_is_named_by_its_address() {
        let run = |variables: &[(&str, &str)]| ci(variables).unwrap().run;
        let github = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "owner/course"),
            ("GITHUB_RUN_ID", "17"),
        ];
        assert_eq!(
            run(&github).as_deref(),
            Some("https://github.com/owner/course/actions/runs/17")
        );
        assert_eq!(run(&github[..3]), None);
        let gitlab = [
            ("GITLAB_CI", "true"),
            ("CI_JOB_URL", "https://g/-/jobs/1\r\n\x1b[31mx"),
        ];
        assert_eq!(run(&gitlab).as_deref(), Some("https://g/-/jobs/1[31mx"));
        let azure = [
            ("TF_BUILD", "True"),
            ("SYSTEM_COLLECTIONURI", "https://dev.azure.com/me/"),
            ("SYSTEM_TEAMPROJECT", "my course"),
            ("BUILD_BUILDID", "3"),
        ];
        assert_eq!(
            run(&azure).as_deref(),
            Some("https://dev.azure.com/me/my%20course/_build/results?buildId=3")
        );
        assert_eq!(run(&[("CI", "true")]), None);
        assert_eq!(
            run(&[
                ("BUILDKITE", "true"),
                ("BUILDKITE_BUILD_URL", "https://b/1")
            ])
            .as_deref(),
            Some("https://b/1")
        );
    }
}
