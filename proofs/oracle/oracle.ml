(* The oracle: one request a line on standard input, one answer a line on standard output.
   A request is an operation and its arguments, separated by spaces; an argument is an
   integer, a list a,b,c ("-" is empty), or a table key:value;... or key:key:value;...    *)
let z = Z.of_string
let separated by s = if s = "-" then [] else String.split_on_char by s
let numbers s = List.map z (separated ',' s)
let show_numbers l = if l = [] then "-" else String.concat "," (List.map Z.to_string l)

let pair_table s =
  let table = Hashtbl.create 97 in
  let enter entry = match String.split_on_char ':' entry with
    | [i; j; v] -> Hashtbl.replace table (i, j) (z v)
    | _ -> failwith "pair table" in
  List.iter enter (separated ';' s);
  fun i j -> Hashtbl.find table (Z.to_string i, Z.to_string j)

let table s =
  let table = Hashtbl.create 97 in
  let enter entry = match String.split_on_char ':' entry with
    | [i; v] -> Hashtbl.replace table i (z v)
    | _ -> failwith "table" in
  List.iter enter (separated ';' s);
  fun i -> Hashtbl.find table (Z.to_string i)

let answer = function
  | ["limit"; up; down; cn; cd] -> Z.to_string (Reference.limit (z up) (z down) (z cn) (z cd))
  | ["quantize"; up; down; cn; cd; n; d] ->
      Z.to_string (Reference.quantize (z up) (z down) (z cn) (z cd) (z n) (z d))
  | ["quantize_stochastic"; m; limit; g; u] ->
      Z.to_string (Reference.quantize_stochastic (z m) (z limit) (z g) (z u))
  | ["encode"; k; w; q] -> Z.to_string (Reference.encode (z k) (z w) (z q))
  | ["centre"; k; x] -> Z.to_string (Reference.centre (z k) (z x))
  | ["pack"; h; v] -> Z.to_string (Reference.pack (Z.mul Z.(of_int 2) (z h)) (numbers v))
  | ["unpack_signed"; h; len; p] -> show_numbers (Reference.unpack_signed (z h) (int_of_string len) (z p))
  | ["signed"; n; x] -> Z.to_string (Reference.signed (z n) (z x))
  | ["masked_input"; k; s; b; x; u; i] ->
      Z.to_string (Reference.masked_input (z k) (pair_table s) (table b) (table x) (numbers u) (z i))
  | ["unmask"; k; s; b; u; a; total] ->
      Z.to_string (Reference.unmask (z k) (pair_table s) (table b) (numbers u) (numbers a) (z total))
  | ["horner"; p; cs; x] -> Z.to_string (Reference.horner (z p) (numbers cs) (z x))
  | ["combine"; p; xs; ys] -> Z.to_string (Reference.combine (z p) (List.combine (numbers xs) (numbers ys)))
  | _ -> failwith "unknown operation"

let () =
  try
    while true do
      let line = input_line stdin in
      print_endline (try answer (String.split_on_char ' ' line) with Failure why -> "error " ^ why | Not_found -> "error missing")
    done
  with End_of_file -> ()
