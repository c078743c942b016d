//! Transactions: END_TRANSACTION 37, CHECK_TRANSACTION_STATE 39, RESUME_CHECK_HALF_MESSAGE 323.

use crate::text::Text;
use crate::{LogOffset, QueueOffset};

header! {
    /// END_TRANSACTION 37 (`EndTransactionRequestHeader`).
    pub struct EndTransaction<'a> {
        /// Topic of the message; older clients don't say.
        topic: Option<Text<'a>> = "topic",
        /// Group of the producer.
        producer_group: Text<'a> = "producerGroup",
        /// The half message's place in its queue.
        tran_state_table_offset: QueueOffset = "tranStateTableOffset",
        /// Where its record begins.
        commit_log_offset: LogOffset = "commitLogOffset",
        /// [`crate::record::sys_flag::TRANSACTION_COMMIT`], [`crate::record::sys_flag::TRANSACTION_ROLLBACK`], or 0 if not known.
        commit_or_rollback: i32 = "commitOrRollback",
        /// The answer to a 39.
        from_transaction_check: Option<bool> = "fromTransactionCheck",
        /// The message's unique id.
        msg_id: Text<'a> = "msgId",
        /// The transaction's id, which is the message's unique id.
        transaction_id: Option<Text<'a>> = "transactionId",
    }
}

header! {
    /// CHECK_TRANSACTION_STATE 39, broker to producer (`CheckTransactionStateRequestHeader`).
    pub struct CheckTransactionState<'a> {
        /// The half messages' topic.
        topic: Option<Text<'a>> = "topic",
        /// The half message's place in its queue.
        tran_state_table_offset: QueueOffset = "tranStateTableOffset",
        /// Where its record begins.
        commit_log_offset: LogOffset = "commitLogOffset",
        /// The message's unique id.
        msg_id: Option<Text<'a>> = "msgId",
        /// The transaction's id, which is the message's unique id.
        transaction_id: Option<Text<'a>> = "transactionId",
        /// Offset message id of the half message.
        offset_msg_id: Option<Text<'a>> = "offsetMsgId",
        /// Who asks.
        broker_name: Option<Text<'a>> = "bname",
    }
}

header! {
    /// RESUME_CHECK_HALF_MESSAGE 323 (`ResumeCheckHalfMessageRequestHeader`).
    pub struct ResumeCheckHalfMessage<'a> {
        /// Topic of the message.
        topic: Option<Text<'a>> = "topic",
        /// Its offset message id.
        msg_id: Option<Text<'a>> = "msgId",
    }
}
