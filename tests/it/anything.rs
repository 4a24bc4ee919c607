//! Every unary RPC of the contract, found in its descriptors, takes arbitrary messages: none is the server's own fault, none
//! hangs. A new RPC is in this test by being in the contract.

use acgs_contracts::DESCRIPTORS;
use acgs_tests::Mesh;
use bytes::{Buf, BufMut};
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Messages of each RPC; twenty times as many in the release form.
const CASES: u64 = if cfg!(debug_assertions) { 40 } else { 800 };
use acgs_tests::PATIENCE;
const WORDS: [&str; 12] =
    ["", "a", "s", "ü", "\0", "../..", "127.0.0.1", "1h", "{}", "acgs.>", "2026-01-01T00:00:00Z", "quality"];

/// Bytes as they are.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn number(&mut self) -> f64 {
        [0.0, 1.0, -1.0, 0.5, 60.0, 1e300, f64::NAN, f64::INFINITY, -0.0, 5e-324][self.roll(10) as usize]
    }

    fn whole(&mut self) -> i64 {
        [0, 1, 2, -1, 7, 60, 1_000, i64::from(i32::MAX), i64::MAX, i64::MIN][self.roll(10) as usize]
    }

    fn text(&mut self) -> String {
        match self.roll(16) {
            0 => "x".repeat(5_000),
            word => WORDS[word as usize % WORDS.len()].to_owned(),
        }
    }

    fn value(&mut self, kind: &Kind, depth: u32) -> Value {
        match kind {
            Kind::Double => Value::F64(self.number()),
            Kind::Float => Value::F32(self.number() as f32),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.whole() as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.whole()),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.whole() as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.whole() as u64),
            Kind::Bool => Value::Bool(self.roll(2) == 0),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.text().into_bytes().into()),
            Kind::Enum(_) => Value::EnumNumber(self.roll(9) as i32 - 1),
            Kind::Message(message) => Value::Message(self.message(message, depth + 1)),
        }
    }

    fn message(&mut self, descriptor: &MessageDescriptor, depth: u32) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            if depth > 5 || self.roll(5) == 0 {
                continue;
            }
            let value = self.field(&field, depth);
            message.set_field(&field, value);
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor, depth: u32) -> Value {
        let count = self.roll(4);
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let kind = entry.map_entry_value_field().kind();
            return Value::Map(
                (0..count).map(|_| (MapKey::String(self.text()), self.value(&kind, depth))).collect(),
            );
        }
        if field.is_list() {
            return Value::List((0..count).map(|_| self.value(&field.kind(), depth)).collect());
        }
        self.value(&field.kind(), depth)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_unary_rpc_survives_anything() {
    let mesh = Mesh::start().await;
    let addresses = mesh.running.addresses;
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let mut rpcs = 0;
    for service in pool.services() {
        let address = match service.name() {
            "QualityService" => addresses.quality,
            "DriftService" => addresses.drift,
            "PerformanceService" => addresses.performance,
            "OrchestratorService"
            | "ModelService"
            | "JobService"
            | "DeploymentService"
            | "RoutingService"
            | "ConstitutionService"
            | "Health" => addresses.orchestrator,
            "GRPCInferenceService" => addresses.gateway,
            // Whoever adds a service says where it is.
            name => {
                let streams = |one: prost_reflect::MethodDescriptor| {
                    one.is_client_streaming() || one.is_server_streaming()
                };
                assert!(service.methods().all(streams), "where is {name}?");
                continue;
            }
        };
        let mut client = Grpc::new(mesh.channel(address).await);
        for method in service.methods().filter(|one| !one.is_client_streaming() && !one.is_server_streaming())
        {
            rpcs += 1;
            let path = format!("/{}/{}", service.full_name(), method.name());
            let mut codes = std::collections::BTreeSet::new();
            for case in 0..CASES {
                let message = Dice(case).message(&method.input(), 0);
                client.ready().await.unwrap();
                let call = client.unary(Request::new(message.encode_to_vec()), path.parse().unwrap(), Raw);
                let answer = tokio::time::timeout(PATIENCE, call).await;
                let answer = answer.unwrap_or_else(|_| panic!("{path} hangs on case {case}"));
                let code = answer.err().map_or(Code::Ok, |status| {
                    let fault = matches!(status.code(), Code::Internal | Code::Unknown | Code::Cancelled);
                    assert!(!fault, "{path} on case {case}: {status:?}");
                    status.code()
                });
                codes.insert(code as i32);
            }
            assert!(!codes.is_empty(), "{path}");
        }
    }
    assert!(rpcs >= 55, "{rpcs} RPCs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_streaming_rpc_of_models_survives_anything() {
    let mesh = Mesh::start().await;
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let mut client = Grpc::new(mesh.channel(mesh.running.addresses.orchestrator).await);
    let mut rpcs = 0;
    let of_models = pool.services().filter(|service| service.package_name() == "acgs.lifecycle.v1");
    let methods = of_models.flat_map(|service| service.methods().collect::<Vec<_>>());
    for method in methods.filter(|one| one.is_client_streaming() || one.is_server_streaming()) {
        rpcs += 1;
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        for case in 0..CASES {
            let mut dice = Dice(case);
            let count = if method.is_client_streaming() { 1 + case % 5 } else { 1 };
            let messages: Vec<Vec<u8>> =
                (0..count).map(|_| dice.message(&method.input(), 0).encode_to_vec()).collect();
            client.ready().await.unwrap();
            let request = Request::new(tokio_stream::iter(messages));
            let call = async {
                let mut answers = client.streaming(request, path.parse().unwrap(), Raw).await?.into_inner();
                while answers.message().await?.is_some() {}
                Ok::<(), Status>(())
            };
            let ended = tokio::time::timeout(PATIENCE, call).await;
            let ended = ended.unwrap_or_else(|_| panic!("{path} hangs on case {case}"));
            let code = ended.err().map_or(Code::Ok, |status| status.code());
            let fault = matches!(code, Code::Internal | Code::Unknown | Code::Cancelled);
            assert!(!fault, "{path} on case {case}: {code:?}");
        }
    }
    assert_eq!(rpcs, 7);
}
