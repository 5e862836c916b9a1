//! The message log of Milvus (Kafka, Pulsar, rocksmq): which one it is, and what the way there and back needs of it.

use std::fmt;

use clap::ValueEnum;
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::shell::as_argument;
use crate::version::is_2_2;

/// `rocksmq.path` as 2.1 has it by default; beside it is `<path>_meta_kv`.
const ROCKSMQ: &str = "/var/lib/milvus/rdb_data";

/// Which message log the cluster reads. Where nobody says it, the message IDs do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum MessageLog {
    /// Apache Kafka
    Kafka,
    /// Another one: Pulsar or rocksmq
    Other,
}

impl fmt::Display for MessageLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kafka => "kafka",
            Self::Other => "other",
        })
    }
}

/// What Milvus's own configuration says of the message log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Which one it is, where that leaves no choice.
    pub log: Option<MessageLog>,
    /// `rocksmq.path`
    pub rocksmq_path: Option<String>,
}

impl LogSettings {
    /// What a way back needs, before the first start of the target.
    pub fn before(&self, target: &Version) -> String {
        if self.log == Some(MessageLog::Kafka) {
            return "Kafka: its retention has to cover the time until 2.1 reads on".into();
        }
        let why = if is_2_2(target) {
            "2.1 opens it again; a copy keeps what is written meanwhile from being read by 2.1"
        } else {
            // 2.1.0 panics otherwise: "Column families not opened".
            "2.1 does NOT open what this version has opened, so copy it before its first start, and put the copy back before 2.1 is started"
        };
        let (path, beside) = self.folders();
        format!(
            "rocksmq: {why} (`cp -a {path} {beside} COPY/`, rocksmq.path); Kafka and Pulsar: their retention has to cover the time until \
             2.1 reads on"
        )
    }

    /// What a rollback needs; `target` is what was started meanwhile.
    pub fn back(&self, target: Option<&Version>) -> String {
        if self.log == Some(MessageLog::Kafka) {
            return "Kafka must still have what 2.1 had not read".into();
        }
        let (path, beside) = self.folders();
        let rocksmq = if target.is_none_or(is_2_2) {
            format!(
                "where it is rocksmq and {path} (rocksmq.path) was copied before, put the copy back, or 2.1 reads what was written since"
            )
        } else {
            format!(
                "where it is rocksmq, 2.1 panics (\"Column families not opened\") until {path} and {beside} (rocksmq.path) are the copy \
                 from before"
            )
        };
        format!("{rocksmq}; Kafka and Pulsar must still have what 2.1 had not read")
    }

    /// The folder of rocksmq and that of its metadata, as they are typed.
    fn folders(&self) -> (String, String) {
        let path = self.rocksmq_path.as_deref().unwrap_or(ROCKSMQ).trim_end_matches('/');
        (as_argument(path).into_owned(), as_argument(&format!("{path}_meta_kv")).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_of_the_log_and_the_folder_that_are_configured() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        let by_default = LogSettings::default();
        assert!(
            by_default
                .before(&version("2.2.16"))
                .contains("`cp -a /var/lib/milvus/rdb_data /var/lib/milvus/rdb_data_meta_kv COPY/`")
        );
        let moved = LogSettings { rocksmq_path: Some("/data/my mq/".into()), log: Some(MessageLog::Other) };
        let before = moved.before(&version("2.3.5"));
        assert!(
            before.contains("`cp -a '/data/my mq' '/data/my mq_meta_kv' COPY/`") && before.contains("does NOT open"),
            "{before}"
        );
        let back = moved.back(Some(&version("2.4.0")));
        assert!(
            back.contains("panics") && back.contains("'/data/my mq_meta_kv'") && !moved.back(None).contains("panics"),
            "{back}"
        );
        let kafka = LogSettings { log: Some(MessageLog::Kafka), ..LogSettings::default() };
        assert!(!(kafka.before(&version("2.3.5")) + &kafka.back(Some(&version("2.3.5")))).contains("rocksmq"));
    }
}
