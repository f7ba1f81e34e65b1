package demo

import (
	"fmt"
	"strconv"
	"strings"
)

// cart is what the visitor picked, in the order of picking. It is written into the page's address as "kiri.1-sencha.2".
type cart []line

type line struct {
	Product  product
	Quantity int
}

// Cents is the line's price.
func (l line) Cents() int { return l.Product.Cents * l.Quantity }

// readCart reads an address's cart; what it does not know it leaves out.
func readCart(s string) cart {
	var c cart
	for part := range strings.SplitSeq(s, "-") {
		slug, count, _ := strings.Cut(part, ".")
		if n, err := strconv.Atoi(count); err == nil && n > 0 && c.count(slug) == 0 {
			c = c.set(slug, n)
		}
	}
	return c
}

// String writes the cart for an address.
func (c cart) String() string {
	parts := make([]string, len(c))
	for i, l := range c {
		parts[i] = fmt.Sprintf("%s.%d", l.Product.Slug, l.Quantity)
	}
	return strings.Join(parts, "-")
}

// Count is the number of things in the cart.
func (c cart) Count() int {
	n := 0
	for _, l := range c {
		n += l.Quantity
	}
	return n
}

func (c cart) count(slug string) int {
	for _, l := range c {
		if l.Product.Slug == slug {
			return l.Quantity
		}
	}
	return 0
}

func (c cart) cents() int {
	sum := 0
	for _, l := range c {
		sum += l.Cents()
	}
	return sum
}

// set returns a cart with n of a product, at most nine; none takes it out.
func (c cart) set(slug string, n int) cart {
	n = min(n, maxQuantity)
	var out cart
	seen := false
	for _, l := range c {
		if l.Product.Slug == slug {
			seen = true
			l.Quantity = n
		}
		if l.Quantity > 0 {
			out = append(out, l)
		}
	}
	if p, ok := find(slug); ok && !seen && n > 0 {
		out = append(out, line{Product: p, Quantity: n})
	}
	return out
}
