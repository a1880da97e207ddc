// A client of grpc-go: streams of small messages both ways, then calls that are given up, then one call more.
//
// Usage: client ADDRESS STREAMS MESSAGES CALLS. It prints how many messages came back, how many calls were given up,
// and what the last one answered.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
)

// Messages as they are, without protobuf.
type plain struct{}

func (plain) Name() string { return "plain" }

func (plain) Marshal(value interface{}) ([]byte, error) { return *value.(*[]byte), nil }

func (plain) Unmarshal(data []byte, value interface{}) error {
	*value.(*[]byte) = append([]byte(nil), data...)
	return nil
}

var bothWays = &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func open(ctx context.Context, connection *grpc.ClientConn, method string) (grpc.ClientStream, error) {
	return connection.NewStream(ctx, bothWays, method, grpc.ForceCodec(plain{}))
}

func exchange(stream grpc.ClientStream, message []byte) ([]byte, error) {
	var answer []byte
	if err := stream.SendMsg(&message); err != nil {
		return nil, err
	}
	return answer, stream.RecvMsg(&answer)
}

// How many messages have come back, each sent when the one before had.
func pingPong(connection *grpc.ClientConn, messages int) (int, error) {
	stream, err := open(context.Background(), connection, "/echo.Echo/Talk")
	if err != nil {
		return 0, err
	}
	for back := 0; back < messages; back++ {
		if _, err := exchange(stream, make([]byte, 50)); err != nil {
			return back, err
		}
	}
	check(stream.CloseSend())
	var answer []byte
	if err := stream.RecvMsg(&answer); err != io.EOF {
		return messages, fmt.Errorf("the stream did not end: %v", err)
	}
	return messages, nil
}

func giveUp(connection *grpc.ClientConn) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
	defer cancel()
	stream, err := open(ctx, connection, "/echo.Echo/Stubborn")
	if err != nil {
		return true
	}
	_, err = exchange(stream, []byte("x"))
	return err != nil
}

func main() {
	var numbers [3]int
	for at := range numbers {
		number, err := strconv.Atoi(os.Args[2+at])
		check(err)
		numbers[at] = number
	}
	connection, err := grpc.Dial(os.Args[1], grpc.WithInsecure(), grpc.WithBlock())
	check(err)

	type result struct {
		back int
		err  error
	}
	results := make(chan result)
	for at := 0; at < numbers[0]; at++ {
		go func() {
			back, err := pingPong(connection, numbers[1])
			results <- result{back, err}
		}()
	}
	back := 0
	for at := 0; at < numbers[0]; at++ {
		each := <-results
		check(each.err)
		back += each.back
	}

	givenUp := 0
	for at := 0; at < numbers[2]; at++ {
		if giveUp(connection) {
			givenUp++
		}
	}
	stream, err := open(context.Background(), connection, "/echo.Echo/Talk")
	check(err)
	answer, err := exchange(stream, []byte("after"))
	check(err)
	fmt.Println(back, givenUp, string(answer))
}
