package translator

import (
	"slices"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// conditions keeps what is to be told, by who tells it, and all of it in order.
type conditions struct {
	said map[memo.Key][]status.Condition
	// net is how many tell a condition more or less than in the list.
	net map[status.Condition]int
	// list is sorted, each condition once; a list that was returned is never changed.
	list []status.Condition
	// more is how many tell a condition of the list beside the first.
	more map[status.Condition]int
}

func newConditions() *conditions {
	return &conditions{said: map[memo.Key][]status.Condition{}, net: map[status.Condition]int{}, more: map[status.Condition]int{}}
}

// set replaces what a teller says.
func (c *conditions) set(teller memo.Key, now []status.Condition) {
	old := c.said[teller]
	if slices.Equal(old, now) {
		return
	}
	for _, one := range old {
		c.net[one]--
	}
	for _, one := range now {
		c.net[one]++
	}
	if len(now) == 0 {
		delete(c.said, teller)
		return
	}
	c.said[teller] = now
}

// sorted returns all conditions, the same slice for as long as nothing changes.
func (c *conditions) sorted() []status.Condition {
	var gone, appeared []status.Condition
	for one, net := range c.net {
		_, told := slices.BinarySearchFunc(c.list, one, status.Condition.Compare)
		tellers := net
		if told {
			tellers += 1 + c.more[one]
		}
		switch {
		case told && tellers == 0:
			gone = append(gone, one)
		case !told && tellers > 0:
			appeared = append(appeared, one)
		}
		if tellers > 1 {
			c.more[one] = tellers - 1
		} else {
			delete(c.more, one)
		}
	}
	clear(c.net)
	if len(gone)+len(appeared) > 0 {
		c.list = splice(c.list, gone, appeared)
	}
	return c.list
}

// splice returns a copy of a sorted list without some of its items and with others.
func splice(list, gone, appeared []status.Condition) []status.Condition {
	slices.SortFunc(gone, status.Condition.Compare)
	slices.SortFunc(appeared, status.Condition.Compare)
	out := make([]status.Condition, 0, len(list)-len(gone)+len(appeared))
	for len(gone)+len(appeared) > 0 {
		if len(appeared) == 0 || len(gone) > 0 && gone[0].Compare(appeared[0]) < 0 {
			at, _ := slices.BinarySearchFunc(list, gone[0], status.Condition.Compare)
			out, list, gone = append(out, list[:at]...), list[at+1:], gone[1:]
			continue
		}
		at, _ := slices.BinarySearchFunc(list, appeared[0], status.Condition.Compare)
		out = append(append(out, list[:at]...), appeared[0])
		list, appeared = list[at:], appeared[1:]
	}
	if out = append(out, list...); len(out) == 0 {
		return nil
	}
	return out
}
