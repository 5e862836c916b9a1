//! What to do after a failure: as a code for scripts and in words.

use crate::apply::ApplyError;
use crate::etcd::{ConnectError, EtcdError};
use crate::exit::Exit;
use crate::guard::GuardError;
use crate::history::HistoryError;
use crate::outcome::failed::Failure;
use crate::outcome::{Next, Step};
use crate::stop::Stopped;

/// The way on after a failure: as it says itself, or by its innermost cause that is known here.
pub(super) fn next_of(failure: &Failure) -> Next {
    if let Some(next) = &failure.next {
        return next.clone();
    }
    let known = failure.error.chain().filter_map(of_cause).next_back();
    match (known, failure.exit) {
        (Some(next), _) => next,
        (None, Exit::Interrupted) => Next::new(Step::Status, "look with `status`: it has the way on"),
        (None, _) => Next::new(Step::Correct, "correct what the error names, then the same command again"),
    }
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Next> {
    if let Some(error) = cause.downcast_ref::<ApplyError>() {
        return match error {
            ApplyError::Guard(error) => Some(of_guard(error)),
            ApplyError::Etcd(error) => Some(of_etcd(error)),
            ApplyError::TooLarge { .. } => Some(mend_etcd()),
            ApplyError::Stopped(_) => Some(again()),
            ApplyError::Changed(_) | ApplyError::HistoryChanged { .. } => {
                Some(Next::new(Step::Status, "look with `status` who else works on this metadata"))
            }
        };
    }
    if let Some(error) = cause.downcast_ref::<GuardError>() {
        return Some(of_guard(error));
    }
    if let Some(error) = cause.downcast_ref::<EtcdError>() {
        return Some(of_etcd(error));
    }
    if let Some(error) = cause.downcast_ref::<ConnectError>() {
        return Some(match error {
            ConnectError::NoAnswer { .. } => mend_etcd(),
            _ => Next::new(Step::Correct, "correct the configuration, then the same command again"),
        });
    }
    if cause.is::<HistoryError>() {
        return Some(Next::new(Step::Correct, "use the edition of meta-migration that wrote the history key"));
    }
    cause.is::<Stopped>().then(again)
}

fn of_guard(error: &GuardError) -> Next {
    match error {
        GuardError::Sessions(_) => Next::new(Step::StopMilvus, "stop Milvus, then the same command again"),
        GuardError::Locked(_) => {
            Next::new(Step::Wait, "wait until the other migration has ended, then look with `status`")
        }
        GuardError::LockLost { .. } => again(),
        GuardError::Etcd(error) => of_etcd(error),
    }
}

fn of_etcd(error: &EtcdError) -> Next {
    match error {
        EtcdError::Compacted { .. } | EtcdError::LeaseNotFound { .. } => again(),
        EtcdError::PermissionDenied { .. } | EtcdError::Unauthenticated { .. } => {
            Next::new(Step::Correct, "correct the etcd user or its rights, then the same command again")
        }
        _ => mend_etcd(),
    }
}

fn mend_etcd() -> Next {
    Next::new(Step::MendEtcd, "mend etcd, or correct how it is reached, then the same command again")
}

fn again() -> Next {
    Next::new(Step::Again, "the same command again")
}
