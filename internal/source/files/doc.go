// Package files reads manifests from files, directories and standard input, and watches them.
//
//	source, err := files.New([]string{"./config"})
//	set, problems, err := source.Load()
//	err = source.Watch(ctx, func(set *resource.Set, problems []resource.Problem) { … })
//
// What is readable is used, whatever is wrong with the rest: every fault is a [resource.Problem]. A file
// that was good and can't be read any more, or has got a syntax error, keeps what it held until it is
// corrected or deleted, so that a slip while editing a policy doesn't open what the policy protects. So does one
// that another program is writing, and for a moment one that is empty or gone: it may be about to come back,
// here or under another name.
package files
