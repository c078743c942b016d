//! Subscription groups: what a consumer group may do, made by its first heartbeat or pull, kept in subscriptionGroup.json.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::bodies::{SubscriptionGroup, SubscriptionGroupTable};

use crate::limits;
use crate::topics::allowed_in_name;

#[cfg(test)]
mod tests;

/// Groups every broker has.
const BOOT: [&str; 8] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
];

/// Groups with this prefix are made even where autoCreateSubscriptionGroup is off.
const SYSTEM_PREFIX: &str = "CID_RMQ_SYS_";

/// Whether the group is the broker's own: its offsets are not for clients to commit.
pub(crate) fn is_system(group: &str) -> bool {
    group.starts_with(SYSTEM_PREFIX)
}

/// Groups by name. Reading takes an [`Arc`]; a change puts a new one in its place.
pub(crate) struct Groups {
    /// The file as loaded: what this build does not interpret is written back untouched.
    file: SubscriptionGroupTable,
    table: HashMap<String, Arc<SubscriptionGroup>>,
    /// Those made since the start: how many changes must be saved for them to be there after a restart.
    made: HashMap<String, u64>,
    /// Changes since the start.
    changes: u64,
    auto_create: bool,
}

fn named(group: &str) -> SubscriptionGroup {
    SubscriptionGroup {
        group_name: group.to_owned(),
        ..SubscriptionGroup::default()
    }
}

impl Groups {
    pub(crate) fn boot(auto_create: bool) -> Groups {
        let group = |name: &&str| (name.to_string(), Arc::new(named(name)));
        Groups {
            file: SubscriptionGroupTable::default(),
            table: BOOT.iter().map(group).collect(),
            made: HashMap::new(),
            changes: 0,
            auto_create,
        }
    }

    /// Lays subscriptionGroup.json over the boot groups.
    pub(crate) fn load(&mut self, mut file: SubscriptionGroupTable) {
        let groups = std::mem::take(&mut file.subscription_group_table);
        self.table.extend(
            groups
                .into_iter()
                .map(|(name, group)| (name, Arc::new(group))),
        );
        self.file = file;
    }

    pub(crate) fn find(&self, group: &str) -> Option<&Arc<SubscriptionGroup>> {
        self.table.get(group)
    }

    /// Makes a group if that is allowed and the name is legal; `None` if it is not there afterwards.
    pub(crate) fn create(&mut self, group: &str, now_ms: i64) -> Option<Arc<SubscriptionGroup>> {
        if let Some(existing) = self.table.get(group) {
            return Some(existing.clone());
        }
        let allowed = self.auto_create || group.starts_with(SYSTEM_PREFIX);
        let legal = !group.is_empty()
            && group.len() <= limits::GROUP_NAME_MAX
            && group.bytes().all(allowed_in_name);
        if !allowed || !legal || self.table.len() >= limits::GROUPS_MAX {
            return None;
        }
        let config = Arc::new(named(group));
        self.table.insert(group.to_owned(), config.clone());
        self.file.data_version = self.file.data_version.next(now_ms);
        self.changes += 1;
        self.made.insert(group.to_owned(), self.changes);
        Some(config)
    }

    /// The number of changes that must be saved for the group to be there after a restart.
    pub(crate) fn since(&self, group: &str) -> u64 {
        self.made.get(group).copied().unwrap_or(0)
    }

    /// Changes since the start.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// What subscriptionGroup.json holds.
    pub(crate) fn to_table(&self) -> SubscriptionGroupTable {
        let groups = self
            .table
            .iter()
            .map(|(name, group)| (name.clone(), (**group).clone()))
            .collect();
        SubscriptionGroupTable {
            subscription_group_table: groups,
            ..self.file.clone()
        }
    }
}
