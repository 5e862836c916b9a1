//! Users, passwords and rights.

use etcd_client::Permission;
use meta_migration::etcd::{Cause, EtcdError};

use crate::common::{Etcd, Version, block_on, on_both_versions};
use crate::{cause, config_for, connect, connect_error, with_login};

on_both_versions![
    logs_in,
    tells_that_the_password_is_wrong,
    tells_that_the_user_is_unknown,
    tells_that_a_user_is_needed,
    goes_on_without_a_login_where_etcd_has_no_users,
    a_user_reads_what_it_may_and_is_told_what_it_may_not,
    logs_in_again_when_etcd_has_forgotten_the_token,
    logs_in_again_when_users_were_changed,
    tells_that_the_password_was_changed_meanwhile,
    members_tell_their_hashes_to_root_alone,
];

fn with_users(version: Version) -> Etcd {
    let etcd = Etcd::start(version);
    etcd.put("meta/a", "1");
    etcd.put("other", "2");
    etcd.add_user("milvus", "s3cret", &[Permission::read("meta/").with_prefix()]);
    etcd.enable_auth();
    etcd
}

fn logs_in(version: Version) {
    let etcd = with_users(version);
    let connection = connect(&with_login(config_for(&etcd), "root", "root"));
    assert!(block_on(connection.get("other")).unwrap().is_some());
}

fn tells_that_the_password_is_wrong(version: Version) {
    let etcd = with_users(version);
    let config = with_login(config_for(&etcd), "milvus", "hunter2");
    assert_eq!(cause(&config), Cause::WrongPassword("milvus".to_owned()));
    let error = connect_error(&config);
    assert!(!format!("{error} {error:?} {config:?}").contains("hunter2"));
}

fn tells_that_the_user_is_unknown(version: Version) {
    let etcd = with_users(version);
    let config = with_login(config_for(&etcd), "nobody", "s3cret");
    assert_eq!(cause(&config), Cause::WrongPassword("nobody".to_owned()));
}

fn tells_that_a_user_is_needed(version: Version) {
    let etcd = with_users(version);
    assert_eq!(cause(&config_for(&etcd)), Cause::UserMissing);
}

fn goes_on_without_a_login_where_etcd_has_no_users(version: Version) {
    let etcd = Etcd::start(version);
    etcd.put("a", "b");
    let connection = connect(&with_login(config_for(&etcd), "milvus", "s3cret"));
    assert!(block_on(connection.get("a")).unwrap().is_some());
}

fn a_user_reads_what_it_may_and_is_told_what_it_may_not(version: Version) {
    let etcd = with_users(version);
    let connection = connect(&with_login(config_for(&etcd), "milvus", "s3cret"));
    assert!(connection.server().is_some());
    assert_eq!(block_on(connection.count("meta/")).unwrap(), 1);
    let error = block_on(connection.snapshot("oth")).unwrap_err();
    assert!(matches!(error, EtcdError::PermissionDenied { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("\"oth\"") && text.contains("user \"milvus\"") && text.contains("grant-permission"),
        "{text}"
    );
}

fn logs_in_again_when_etcd_has_forgotten_the_token(version: Version) {
    let mut etcd = with_users(version);
    let connection = connect(&with_login(config_for(&etcd), "milvus", "s3cret"));
    // The tokens are in etcd's memory only.
    etcd.restart();
    assert!(block_on(connection.get("meta/a")).unwrap().is_some());
}

fn logs_in_again_when_users_were_changed(version: Version) {
    let etcd = with_users(version);
    let connection = connect(&with_login(config_for(&etcd), "milvus", "s3cret"));
    etcd.add_user("another", "one", &[]);
    assert!(block_on(connection.get("meta/a")).unwrap().is_some());
}

fn tells_that_the_password_was_changed_meanwhile(version: Version) {
    let etcd = with_users(version);
    let connection = connect(&with_login(config_for(&etcd), "milvus", "s3cret"));
    etcd.run(async |mut client| client.user_change_password("milvus", "new").await);
    let error = block_on(connection.get("meta/a")).unwrap_err();
    assert!(matches!(&error, EtcdError::Unauthenticated { cause: Cause::WrongPassword(_), .. }), "{error:?}");
}

fn members_tell_their_hashes_to_root_alone(version: Version) {
    let etcd = with_users(version);
    for (user, password) in [("root", "root"), ("milvus", "s3cret")] {
        let connection = connect(&with_login(config_for(&etcd), user, password));
        let revision = block_on(connection.snapshot("meta/")).unwrap().revision();
        let members = block_on(connection.members(revision)).unwrap();
        assert_eq!(members.list.len(), 1, "{user}");
        let member = &members.list[0];
        // Who may not ask for it is no worse off otherwise.
        assert_eq!((member.hash.is_some(), &member.problem), (user == "root", &None), "{user}");
    }
}
