//! A client library that nobody here wrote lists, signs, adds and removes through the agent, with
//! bare keys and certificates. It knows the protocol's messages as types, so a byte out of place
//! fails.

use std::os::unix::net::UnixStream;

use crate::support::{Agent, Home, KEY_KINDS};
use ssh_agent_lib::blocking::Client;
use ssh_agent_lib::proto::{
    AddIdentity, PrivateCredential, PublicCredential, RemoveIdentity, SignRequest,
};
use ssh_key::private::{Ed25519Keypair, KeypairData};

const RSA_SHA2_512: u32 = 4;

#[test]
fn a_library_client_lists_and_signs_with_keys_and_certificates() {
    for (kind, ..) in KEY_KINDS {
        let home = Home::with_environment(&format!("key = \"{kind}\""));
        let agent = Agent::start(&home);
        let mut client = Client::new(UnixStream::connect(agent.socket()).unwrap());
        let listed = client.request_identities().unwrap();
        assert_eq!(listed.len(), 2, "{kind}");
        assert!(matches!(listed[0].credential, PublicCredential::Cert(_)), "{kind}");
        assert!(matches!(listed[1].credential, PublicCredential::Key(_)), "{kind}");
        for identity in listed {
            let key = identity.credential.key_data().clone();
            let data = b"data to be signed".to_vec();
            let request = SignRequest {
                credential: identity.credential,
                data: data.clone(),
                flags: RSA_SHA2_512,
            };
            let signature = client.sign(request).unwrap();
            signature::Verifier::verify(&key, &data, &signature).expect("a signature of that key");
        }
    }
}

#[test]
fn a_library_client_adds_and_removes() {
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let mut client = Client::new(UnixStream::connect(agent.socket()).unwrap());
    let pair = Ed25519Keypair::from_seed(&[7; 32]);
    let public = ssh_key::public::KeyData::Ed25519(pair.public);
    let credential =
        PrivateCredential::Key { privkey: KeypairData::Ed25519(pair), comment: "seven".to_owned() };
    client.add_identity(AddIdentity { credential }).unwrap();
    let listed = client.request_identities().unwrap();
    assert_eq!(listed[0].comment, "seven");
    assert_eq!(*listed[0].credential.key_data(), public);
    client.remove_identity(RemoveIdentity { credential: PublicCredential::Key(public) }).unwrap();
    assert!(client.request_identities().unwrap().is_empty());
}
