//! Every datatype in both forms, and shapes.

use acgs_contracts::inference::model_infer_response::InferOutputTensor;

use super::*;

fn tensor(datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferInputTensor {
    let (datatype, shape) = (datatype.to_owned(), shape.to_vec());
    InferInputTensor { name: "x".into(), datatype, shape, contents, ..Default::default() }
}

fn raw(datatype: &str, shape: &[i64], bytes: &[u8]) -> Result<Tensors, Problem> {
    Tensors::read(&ModelInferRequest {
        inputs: vec![tensor(datatype, shape, None)],
        raw_input_contents: vec![Bytes::copy_from_slice(bytes)],
        ..Default::default()
    })
}

fn contents(datatype: &str, contents: InferTensorContents) -> Result<Tensors, Problem> {
    let inputs = vec![tensor(datatype, &[1], Some(contents))];
    Tensors::read(&ModelInferRequest { inputs, ..Default::default() })
}

fn only(tensors: &Tensors) -> Cell<'_> {
    assert_eq!((tensors.rows(), tensors.fields().len()), (1, 1));
    tensors.cells(0).next().unwrap()
}

#[test]
fn every_datatype_is_read_raw() {
    let integers: [(&str, &[u8], i64); 8] = [
        ("INT64", &(-5_i64).to_le_bytes(), -5),
        ("INT32", &(-5_i32).to_le_bytes(), -5),
        ("INT16", &(-5_i16).to_le_bytes(), -5),
        ("INT8", &[0xfb], -5),
        ("UINT64", &5_u64.to_le_bytes(), 5),
        ("UINT32", &u32::MAX.to_le_bytes(), 4_294_967_295),
        ("UINT16", &u16::MAX.to_le_bytes(), 65_535),
        ("UINT8", &[255], 255),
    ];
    for (datatype, bytes, value) in integers {
        assert_eq!(only(&raw(datatype, &[1], bytes).unwrap()), Cell::Integer(value), "{datatype}");
    }
    let numbers: [(&str, &[u8], f64); 6] = [
        ("FP64", &1.5_f64.to_le_bytes(), 1.5),
        ("FP32", &1.5_f32.to_le_bytes(), 1.5),
        ("FP16", &0x3e00_u16.to_le_bytes(), 1.5),
        ("FP16", &0xc000_u16.to_le_bytes(), -2.0),
        ("FP16", &0x0001_u16.to_le_bytes(), 5.960_464_477_539_063e-8),
        ("BF16", &0x3fc0_u16.to_le_bytes(), 1.5),
    ];
    for (datatype, bytes, value) in numbers {
        assert_eq!(only(&raw(datatype, &[1], bytes).unwrap()), Cell::Number(value), "{datatype}");
    }
    assert_eq!(only(&raw("FP16", &[1], &0x7c00_u16.to_le_bytes()).unwrap()), Cell::Null, "infinite");
    assert_eq!(only(&raw("BOOL", &[1], &[1]).unwrap()), Cell::Boolean(true));
    assert_eq!(only(&raw("BYTES", &[1], &[2, 0, 0, 0, b'h', b'i']).unwrap()), Cell::Text("hi"));
}

#[test]
fn every_datatype_is_read_from_contents() {
    let of = InferTensorContents {
        int_contents: vec![-5],
        uint_contents: vec![7],
        int64_contents: vec![-9],
        uint64_contents: vec![9],
        fp32_contents: vec![0.5],
        fp64_contents: vec![0.25],
        bool_contents: vec![true],
        bytes_contents: vec![Bytes::from_static(b"hi")],
    };
    let wanted = [
        ("INT8", Cell::Integer(-5)),
        ("INT16", Cell::Integer(-5)),
        ("INT32", Cell::Integer(-5)),
        ("INT64", Cell::Integer(-9)),
        ("UINT8", Cell::Integer(7)),
        ("UINT16", Cell::Integer(7)),
        ("UINT32", Cell::Integer(7)),
        ("UINT64", Cell::Integer(9)),
        ("FP32", Cell::Number(0.5)),
        ("FP64", Cell::Number(0.25)),
        ("BOOL", Cell::Boolean(true)),
        ("BYTES", Cell::Text("hi")),
    ];
    for (datatype, cell) in wanted {
        assert_eq!(only(&contents(datatype, of.clone()).unwrap()), cell, "{datatype}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let told = |found: Result<Tensors, Problem>| found.unwrap_err().to_string();
    assert!(told(raw("UINT64", &[1], &u64::MAX.to_le_bytes())).contains("beyond Int64"));
    assert!(told(raw("FP64", &[1], &[0; 9])).contains("not a multiple of 8"));
    assert!(told(raw("FP8", &[1], &[0])).contains("FP8"));
    assert!(told(contents("FP16", InferTensorContents::default())).contains("raw only"));
    assert!(told(raw("FP32", &[2], &[0; 4])).contains("1 values for the shape [2]"));
    assert!(told(raw("FP32", &[-1], &[0; 4])).contains("shape [-1]"));
    assert!(told(raw("UINT8", &[1, 300], &[0; 300])).contains("300 columns"));
    assert!(told(raw("UINT8", &[i64::MAX, i64::MAX], &[0])).contains("1 values"));
    assert!(told(raw("UINT8", &[1 << 62, 0], &[])).contains("0 values"));
    assert!(told(raw("UINT8", &[3, 0], &[])).contains("no columns"));
}

#[test]
fn a_matrix_is_one_field_for_each_column() {
    let found = raw("UINT8", &[2, 3], &[1, 2, 3, 4, 5, 6]).unwrap();
    let names: Vec<&str> = found.fields().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, found.rows()), (vec!["x[0]", "x[1]", "x[2]"], 2));
    let cells: Vec<Cell<'_>> = found.cells(1).collect();
    assert_eq!(cells, [Cell::Integer(4), Cell::Integer(5), Cell::Integer(6)]);
    for (shape, rows) in [(&[4, 1][..], 4), (&[4][..], 4)] {
        let found = raw("UINT8", shape, &[1, 2, 3, 4]).unwrap();
        assert_eq!((found.rows(), found.fields().len(), found.batch().unwrap().rows()), (rows, 1, rows));
    }
    assert_eq!(raw("UINT8", &[], &[1]).unwrap().rows(), 1);
    assert_eq!(raw("UINT8", &[1, 4], &[1, 2, 3, 4]).unwrap().rows(), 1, "one row of four");
}

#[test]
fn numbers_are_one_for_each_row() {
    let answer = |shape: &[i64], scores: &[f64]| ModelInferResponse {
        outputs: vec![InferOutputTensor {
            name: "p".into(),
            datatype: "FP64".into(),
            shape: shape.to_vec(),
            contents: Some(InferTensorContents { fp64_contents: scores.to_vec(), ..Default::default() }),
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(numbers(&answer(&[2], &[0.1, 0.2]), "p").unwrap(), [0.1, 0.2]);
    assert_eq!(numbers(&answer(&[2, 1], &[0.1, 0.2]), "p").unwrap(), [0.1, 0.2]);
    assert!(numbers(&answer(&[1, 2], &[0.1, 0.2]), "p").unwrap_err().contains("[1, 2]"));
    assert!(numbers(&answer(&[1], &[0.1]), "q").unwrap_err().contains("[\"p\"]"));
}
