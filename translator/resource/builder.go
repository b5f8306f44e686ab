package resource

import (
	"cmp"
	"crypto/sha256"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Document is the decoded form of one YAML document or JSON text: usually one object, several for a
// kind: List. Immutable; the same Document may be added to many Builders, also at once.
type Document struct {
	entries []entry
	broken  bool // a syntax error
	// unplaced is set if a policy or route with a fault names nothing that it is for.
	unplaced bool
	// faults and notes that belong to no entry.
	faults []finding
	notes  []finding
}

// Broken reports whether what the text means isn't known: it has a syntax error, or a fault and doesn't say
// which Gateway or route it is for.
func (d *Document) Broken() bool { return d.broken || d.unplaced }

// Lost reports whether the text has a syntax error and doesn't even tell which object it is: then nothing can
// stand for it, neither to refuse what it was to protect nor to keep what it was to take.
func (d *Document) Lost() bool {
	return d.broken && !slices.ContainsFunc(d.entries, func(e entry) bool { return e.kind != nil })
}

// entry is one object of a document.
type entry struct {
	key      Key
	kind     *kind
	object   Object // nil: not fit to be in a set
	line     int
	invalid  string
	faults   []finding
	warnings []finding
	// sum is a digest of the canonical text, for kinds with targets.
	sum [sha256.Size]byte
	// twin, for kinds with targets, returns what stands for the object where its name is taken: the
	// same pointer each time, or nil.
	twin func() Object
}

// finding is a Problem or Warning whose line counts from the beginning of its document.
type finding struct {
	line    int
	key     Key
	field   string
	message string
}

func (f finding) at(base Origin) Problem {
	line := 0
	if f.line > 0 && base.Line > 0 {
		line = base.Line + f.line - 1
	}
	return Problem{Origin: Origin{base.File, line}, Key: f.key, Field: f.field, Message: f.message}
}

// Builder collects documents for one Set. Not safe for concurrent use.
type Builder struct {
	previous *Set
	added    []addition
}

type addition struct {
	document *Document
	at       Origin
	old      bool // from Keep
}

// NewBuilder returns an empty Builder. Objects that the Builder itself makes (Namespaces that the input
// doesn't have) are taken over from the previous set, which may be nil, so that they keep their pointers.
func NewBuilder(previous *Set) *Builder { return &Builder{previous: previous} }

// Add adds a document that begins at an origin. The order of calls doesn't matter: what depends on an
// order depends on that of origins.
func (b *Builder) Add(document *Document, at Origin) {
	b.added = append(b.added, addition{document: document, at: at})
}

// Keep adds the last good form of a document whose present text can't be read: those of its objects that
// no added document defines stay in the set. Its problems and notes aren't reported.
func (b *Builder) Keep(document *Document, at Origin) {
	b.added = append(b.added, addition{document: document, at: at, old: true})
}

func compareAdditions(x, y addition) int {
	return cmp.Or(cmp.Compare(x.rank(), y.rank()), compareOrigins(x.at, y.at))
}

// rank says whose object counts of several with one name: what stands for one that can't be read counts only
// where there is no last good form.
func (a addition) rank() int {
	switch {
	case a.old:
		return 1
	case a.document.Broken():
		return 2
	}
	return 0
}

// Build makes the Set, and returns everything that is wrong with the input, sorted by origin. Of two
// objects with one Key the first by file and line is kept.
func (b *Builder) Build() (*Set, []Problem) {
	slices.SortStableFunc(b.added, compareAdditions)
	set := &Set{facts: map[Key]facts{}}
	objects := map[*kind][]Object{}
	var problems []Problem
	for _, one := range b.added {
		found := b.include(set, objects, one)
		if !one.old {
			problems = append(problems, found...)
		}
	}
	// Every kind has its Table made, also without objects.
	for _, k := range kinds {
		if k.name == "Namespace" {
			objects[k] = append(objects[k], b.missingNamespaces(set)...)
		}
		k.collect(set, objects[k])
	}
	slices.SortFunc(problems, compareProblems)
	slices.SortFunc(set.warned, func(a, b Warning) int { return compareProblems(Problem(a), Problem(b)) })
	return set, problems
}

// include puts the objects of one document into the set.
func (b *Builder) include(set *Set, objects map[*kind][]Object, one addition) []Problem {
	problems := place(one.document.faults, one.at)
	for i := range one.document.entries {
		e := &one.document.entries[i]
		first, taken := set.facts[e.key]
		if taken && one.old {
			continue
		}
		problems = append(problems, place(e.faults, one.at)...)
		if !taken || !first.kept {
			problems = append(problems, b.enter(set, objects, e, one)...)
		}
	}
	if !one.old {
		for _, note := range one.document.notes {
			set.notes = append(set.notes, Warning(note.at(one.at)))
		}
	}
	return problems
}

// enter puts an object into the set, unless its name is taken. Then an invalid policy with the same
// targets stands for it: to ignore a policy would be to serve its targets without it.
func (b *Builder) enter(set *Set, objects map[*kind][]Object, e *entry, from addition) []Problem {
	if e.object == nil {
		return nil
	}
	at := finding{line: e.line}.at(from.at).Origin
	first, taken := set.facts[e.key]
	if !taken {
		told := warnings(e.warnings, from.at)
		set.facts[e.key] = facts{origin: at, warnings: told, invalid: e.invalid, entry: e, kept: from.old}
		set.warned = append(set.warned, told...)
		objects[e.kind] = append(objects[e.kind], e.object)
		return nil
	}
	if e.twin != nil && first.entry.sum != e.sum {
		if twin := e.twin(); twin != nil {
			key := Key{e.key.Kind, twin.GetNamespace(), twin.GetName()}
			if _, again := set.facts[key]; !again {
				set.facts[key] = facts{origin: at, invalid: twinReason, entry: e}
				objects[e.kind] = append(objects[e.kind], twin)
			}
		}
	}
	return []Problem{duplicate(e.key, at, first.origin)}
}

func duplicate(key Key, at, first Origin) Problem {
	return Problem{Origin: at, Key: key, Message: "is already defined at " + first.String() + ", which is used; remove one of the two"}
}

func place(findings []finding, at Origin) []Problem {
	problems := make([]Problem, len(findings))
	for i, f := range findings {
		problems[i] = f.at(at)
	}
	return problems
}

func warnings(findings []finding, at Origin) []Warning {
	placed := make([]Warning, len(findings))
	for i, f := range findings {
		placed[i] = Warning(f.at(at))
	}
	return placed
}

// missingNamespaces makes the namespaces that hold objects and aren't in the input.
func (b *Builder) missingNamespaces(set *Set) []Object {
	wanted := map[string]bool{}
	for key := range set.facts {
		if key.Namespace != "" {
			wanted[key.Namespace] = true
		}
	}
	var made []Object
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if _, given := set.facts[Key{"Namespace", "", name}]; !given {
			made = append(made, b.namespace(name))
		}
	}
	return made
}

func (b *Builder) namespace(name string) *corev1.Namespace {
	if b.previous != nil {
		// One that the previous input did have may carry labels that are gone.
		if _, given := b.previous.facts[Key{"Namespace", "", name}]; !given {
			if made, ok := b.previous.Namespaces.Get("", name); ok {
				return made
			}
		}
	}
	return &corev1.Namespace{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelMetadataName: name}},
	}
}

func compareOrigins(a, b Origin) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
}

func compareProblems(a, b Problem) int {
	return cmp.Or(compareOrigins(a.Origin, b.Origin), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
}
