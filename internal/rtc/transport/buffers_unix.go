//go:build unix

package transport

import "syscall"

// socketBuffers are the sizes of a socket's buffers. Linux answers the double of what holds packets.
func socketBuffers(fd uintptr) (receive, send int) {
	receive, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
	send, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
	return receive, send
}
