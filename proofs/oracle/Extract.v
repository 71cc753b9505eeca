(* The executable reference: what the Python code is tested against. *)
From Coq Require Import ZArith List Extraction ExtrOcamlBasic ExtrOcamlZBigInt ExtrOcamlNatInt.
From SecureFL Require Import Quantize Packing Round ShamirExec.
Extraction Language OCaml.
Extraction "reference.ml" limit quantize encode wrap centre quantize_stochastic sumZ
  pack unpack_signed signed vsum masked_input unmask horner combine.
