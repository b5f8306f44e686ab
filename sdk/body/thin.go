package body

import "errors"

// maxName is how long a name may be in an object of which members may be removed: it is held until it is
// known whether its member stays.
const maxName = 64 << 10

var errRoot = errors.New("the whole document can't be removed")

// thin passes an object or array of which members may go. With one goes its comma, and between those that
// stay the white space.
func (r *rewriter) thin(n *node, end byte) error {
	if r.at(end) {
		return nil
	}
	kept := false
	for i := 0; ; i++ {
		child, err := r.head(n, end, i)
		if err != nil {
			return err
		}
		if child != nil && child.edit != nil && child.edit.remove {
			err = r.drop()
		} else {
			err = r.keep(child, kept)
			kept = true
		}
		if err != nil {
			return err
		}
		if over, err := r.gap(end); over || err != nil {
			return err
		}
	}
}

// head takes a member's name with its colon aside; an element has none.
func (r *rewriter) head(n *node, end byte, index int) (child *node, err error) {
	if err := r.divert(maxName); err != nil {
		return nil, err
	}
	if end == ']' {
		child = n.element(index)
	} else {
		child, err = r.member(n)
	}
	if err != nil {
		return nil, err
	}
	return child, r.resume()
}

// keep passes a member whose head was taken aside.
func (r *rewriter) keep(child *node, comma bool) error {
	if comma {
		if _, err := r.dst.Write([]byte{','}); err != nil {
			return err
		}
	}
	if len(r.taken) > 0 {
		if _, err := r.dst.Write(r.taken); err != nil {
			return err
		}
	}
	return r.value(child)
}

func (r *rewriter) drop() error {
	if err := r.divert(nothingKept); err != nil {
		return err
	}
	if err := r.value(nil); err != nil {
		return err
	}
	return r.resume()
}

// gap drops a comma with the space around it, or passes the end.
func (r *rewriter) gap(end byte) (over bool, err error) {
	if err := r.divert(nothingKept); err != nil {
		return false, err
	}
	if err := r.space(); err != nil {
		return false, err
	}
	comma := r.at(',')
	if comma {
		err = r.space()
	}
	if err == nil {
		err = r.resume()
	}
	switch {
	case err != nil:
		return false, err
	case comma:
		return false, nil
	case r.at(end):
		return true, nil
	}
	return false, r.fault("a comma or the end of the value is expected")
}
