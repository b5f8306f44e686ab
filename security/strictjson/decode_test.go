package strictjson_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/strictjson"
)

func TestS23StrictJSON(t *testing.T) {
	t.Parallel()
	got, err := strictjson.Decode([]byte(` {"a":[1,2.50,"x",true,null,{}],"b":12345678901234567890} `), 4)
	want := map[string]any{"a": []any{json.Number("1"), json.Number("2.50"), "x", true, nil, map[string]any{}}, "b": json.Number("12345678901234567890")}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Error(got, err)
	}
	for _, text := range []string{
		"", " ", "{", "[1,]", `{"a":1,}`, `{"a":1,"a":1}`, `{"a":1,"\u0061":1}`, `{} {}`, `{}x`, "\"\xff\"", `"\ud800"`, `01`, `NaN`, `1e400`, `1e999999999`,
		strings.Repeat("9", 100), "[[[[1]]]]", strings.Repeat("[", 100000), `'a'`, "// c\n1",
	} {
		if got, err := strictjson.Decode([]byte(text), 4); err == nil {
			t.Errorf("%.30q is read as %v", text, got)
		}
	}
}

func FuzzStrictJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1]}`, `{"a":1,"a":2}`, `[[[[`, `1e9`, "\"\xff\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		value, err := strictjson.Decode(text, 8)
		if err != nil {
			return
		}
		again, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := strictjson.Decode(again, 8); err != nil || !reflect.DeepEqual(value, second) {
			t.Errorf("%q becomes %q", text, again)
		}
	})
}
