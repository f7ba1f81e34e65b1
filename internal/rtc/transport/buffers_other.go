//go:build !unix

package transport

// socketBuffers is not known here.
func socketBuffers(uintptr) (receive, send int) { return 0, 0 }
