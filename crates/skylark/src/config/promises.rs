//! Keys of Apache's that promise what isn't there yet. Where others without effect are silently without it, these are not.

/// A key, and what follows if it is on.
pub(super) struct Promise {
    pub(super) key: &'static str,
    /// The value with which it promises nothing.
    pub(super) off: &'static str,
    /// What is not as promised.
    pub(super) missing: &'static str,
    /// Without it the installation would be open, or lose data: no start.
    pub(super) is_vital: bool,
}

const fn vital(key: &'static str, off: &'static str, missing: &'static str) -> Promise {
    Promise {
        key,
        off,
        missing,
        is_vital: true,
    }
}

const fn other(key: &'static str, off: &'static str, missing: &'static str) -> Promise {
    Promise {
        key,
        off,
        missing,
        is_vital: false,
    }
}

pub(super) const ALL: [Promise; 18] = [
    // Files of 4.x and of 5.x before 5.3.3, whose broker reads it nowhere.
    vital(
        "aclEnable",
        "false",
        "access control is not there yet, and the broker would serve everybody",
    ),
    vital(
        "authenticationEnabled",
        "false",
        "authentication is not there yet, and the broker would serve everybody",
    ),
    vital(
        "authorizationEnabled",
        "false",
        "authorization is not there yet, and the broker would serve everybody",
    ),
    vital(
        "useTLS",
        "false",
        "TLS is not there yet, and what is sent could be read on its way",
    ),
    vital(
        "messageStorePlugIn",
        "",
        "plug-ins can't be loaded, and messages would be kept in the usual files only",
    ),
    vital(
        "enableControllerInNamesrv",
        "false",
        "the controller is not there yet, and nobody would elect masters",
    ),
    other(
        "allAckInSyncStateSet",
        "false",
        "there is no replication yet, this broker alone acknowledges a message",
    ),
    other(
        "enableAutoInSyncReplicas",
        "false",
        "there is no replication yet, this broker alone acknowledges a message",
    ),
    other(
        "minInSyncReplicas",
        "1",
        "there is no replication yet, this broker alone acknowledges a message",
    ),
    other(
        "enableSlaveActingMaster",
        "false",
        "there is no replication yet, no slave acts for its master",
    ),
    other(
        "rejectPullConsumerEnable",
        "false",
        "pull consumers are served all the same",
    ),
    other(
        "enableLmq",
        "false",
        "there are no light message queues yet, a message goes to its topic only",
    ),
    other(
        "enableMultiDispatch",
        "false",
        "there are no light message queues yet, a message goes to its topic only",
    ),
    other(
        "enabledAppendPropCRC",
        "false",
        "messages get no checksum of their properties",
    ),
    other(
        "coldDataFlowControlEnable",
        "false",
        "consumers of old messages are not slowed down",
    ),
    other(
        "metricsExporterType",
        "DISABLE",
        "metrics are not exported yet",
    ),
    other(
        "fetchNamesrvAddrByAddressServer",
        "false",
        "nameservers are not asked for elsewhere, give them in namesrvAddr",
    ),
    other(
        "fetchNameSrvAddrByDnsLookup",
        "false",
        "a name in namesrvAddr stands for one nameserver, not for all its addresses",
    ),
];

/// What this value of a key promises.
pub(super) fn of(key: &str, value: &str) -> Option<&'static Promise> {
    ALL.iter().find(|promise| {
        let is_off = value.is_empty() || value.eq_ignore_ascii_case(promise.off);
        promise.key.eq_ignore_ascii_case(key) && !is_off
    })
}
