//! All topics of one moment. They are shared with the table, not copied: to take a snapshot is quick, and what is done with
//! it holds up nobody.

use std::sync::Arc;

use protocol::bodies::{DataVersion, TopicConfig, TopicConfigTable};
use serde::{Serialize, Serializer};

/// See the module's first line. Written as topics.json ([`TopicConfigTable`]).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Snapshot {
    data_version: DataVersion,
    #[serde(serialize_with = "by_name")]
    topic_config_table: Vec<Arc<TopicConfig>>,
}

impl Snapshot {
    pub(super) fn new(
        data_version: DataVersion,
        topic_config_table: Vec<Arc<TopicConfig>>,
    ) -> Snapshot {
        Snapshot {
            data_version,
            topic_config_table,
        }
    }

    /// A copy that can be changed.
    pub(crate) fn to_table(&self) -> TopicConfigTable {
        let configs = self.topic_config_table.iter();
        TopicConfigTable {
            data_version: self.data_version,
            topic_config_table: configs
                .map(|config| (config.topic_name.clone(), (**config).clone()))
                .collect(),
        }
    }
}

fn by_name<S: Serializer>(configs: &[Arc<TopicConfig>], serializer: S) -> Result<S::Ok, S::Error> {
    let mut sorted: Vec<&TopicConfig> = configs.iter().map(|config| &**config).collect();
    sorted.sort_unstable_by(|a, b| a.topic_name.cmp(&b.topic_name));
    serializer.collect_map(
        sorted
            .into_iter()
            .map(|config| (&config.topic_name, config)),
    )
}
