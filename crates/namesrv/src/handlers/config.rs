//! The nameserver's own configuration.

use protocol::options::OptionSet;

use crate::Shared;
use crate::dispatch::{Answer, Answered};

impl Shared {
    /// GET_NAMESRV_CONFIG 319: `key=value` lines, sorted.
    pub(crate) fn show_config(&self) -> Answered {
        let declared = self.config.declared().iter().enumerate();
        let mut lines: Vec<String> = declared
            .map(|(index, option)| format!("{}={}\n", option.key, self.config.show(index)))
            .collect();
        lines.sort();
        Answer::body(lines.concat().into_bytes())
    }
}
