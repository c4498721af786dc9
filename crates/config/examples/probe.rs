//! probe
use toml::de::{DeTable,DeValue};
fn show(t:&DeTable, text:&str, ind:usize){ for (k,v) in t.iter(){ println!("{:ind$}{:?} key={:?} val={:?}", "", k.get_ref(), &text[k.span()], &text[v.span()]);
 match v.get_ref(){DeValue::Table(t)=>show(t,text,ind+2),DeValue::Array(a)=>for e in a.iter(){println!("{:ind$} - {:?}","",&text[e.span()]); if let DeValue::Table(t)=e.get_ref(){show(t,text,ind+4)}},_=>{}}}}
fn main(){
 let text="x.y = 1\nf=[1,\n 2]\n[model.attention.normalizer]\nname='a'\nalpha=1.5\n[model]\nq={a=1,b.c=2}\nw.z=3\nw.k=4\n[[arr]]\nn=1\n[[arr]]\nn=2\n[arr.sub]\nt=1\n";
 let d=DeTable::parse(text).unwrap(); println!("{:?}",d.span()); show(d.get_ref(),text,0);
 for bad in ["a=","a=foo","[a","a=1\na=2","a=\"x","= 3","a=1 b=2","a=1__0","x=99999999999999999999", "a=1e999","a=0x_1", "a=+0x1", "a={b=1\n,}", "a.b=1\n[a]\nc=1", "\u{feff}a=1"]{ println!("{bad:?}: {:?}", DeTable::parse(bad).map(|_|()).map_err(|e|(e.message().to_string(),e.span())));}
}
