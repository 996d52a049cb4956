// Interop proves that stock ttrpc peers and @hms/wire understand each other: the same program is a client or a server of
// the echo contract of packages/testkit/src/echo-contract.ts, made with nothing but github.com/containerd/ttrpc.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const service = "hms.test.v1.EchoService"

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: interop client|server SOCKET")
		os.Exit(2)
	}
	run := map[string]func(string) error{"client": runClient, "server": runServer}[os.Args[1]]
	if err := run(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runClient makes every kind of call and prints what came back, as one JSON object.
func runClient(path string) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	client := ttrpc.NewClient(conn)
	defer client.Close()
	seen := map[string]any{}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ctx = ttrpc.WithMetadata(ctx, ttrpc.MD{"authorization": {"Bearer secret"}, "x-request-id": {"go-1"}})

	seen["unary"] = unary(ctx, client, "hello")
	seen["unaryError"] = unary(ctx, client, "fail")
	seen["unknownMethod"] = call(ctx, client, "Nothing", "x")
	seen["large"] = len(unary(ctx, client, strings.Repeat("x", 3<<20)))
	seen["serverStream"] = serverStream(ctx, client, "a,b,c")
	seen["serverStreamError"] = serverStream(ctx, client, "a,fail")
	seen["manyMessages"] = len(serverStream(ctx, client, strings.TrimSuffix(strings.Repeat("m,", 5000), ",")))
	seen["clientStream"] = clientStream(ctx, client, "a", "b", "c")
	seen["bidi"] = bidi(ctx, client, "a", "b", "c")
	seen["concurrent"] = concurrent(ctx, client, 200)
	return json.NewEncoder(os.Stdout).Encode(seen)
}

func unary(ctx context.Context, client *ttrpc.Client, text string) string {
	return call(ctx, client, "Unary", text)
}

func call(ctx context.Context, client *ttrpc.Client, method, text string) string {
	answer := &wrapperspb.StringValue{}
	if err := client.Call(ctx, service, method, wrapperspb.String(text), answer); err != nil {
		return describe(err)
	}
	return answer.Value
}

func describe(err error) string {
	s, _ := status.FromError(err)
	return fmt.Sprintf("error %s: %s", s.Code(), s.Message())
}

func receiveAll(stream ttrpc.ClientStream) []string {
	texts := []string{}
	for {
		message := &wrapperspb.StringValue{}
		err := stream.RecvMsg(message)
		if err == io.EOF {
			return texts
		}
		if err != nil {
			return append(texts, describe(err))
		}
		texts = append(texts, message.Value)
	}
}

func serverStream(ctx context.Context, client *ttrpc.Client, text string) []string {
	desc := &ttrpc.StreamDesc{StreamingServer: true}
	stream, err := client.NewStream(ctx, desc, service, "ServerStream", wrapperspb.String(text))
	if err != nil {
		return []string{describe(err)}
	}
	return receiveAll(stream)
}

func clientStream(ctx context.Context, client *ttrpc.Client, texts ...string) string {
	stream, err := client.NewStream(ctx, &ttrpc.StreamDesc{StreamingClient: true}, service, "ClientStream", nil)
	if err != nil {
		return describe(err)
	}
	for _, text := range texts {
		if err := stream.SendMsg(wrapperspb.String(text)); err != nil {
			return describe(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		return describe(err)
	}
	answer := &wrapperspb.StringValue{}
	if err := stream.RecvMsg(answer); err != nil {
		return describe(err)
	}
	return answer.Value
}

func bidi(ctx context.Context, client *ttrpc.Client, texts ...string) []string {
	desc := &ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}
	stream, err := client.NewStream(ctx, desc, service, "Bidi", nil)
	if err != nil {
		return []string{describe(err)}
	}
	answers := []string{}
	for _, text := range texts {
		if err := stream.SendMsg(wrapperspb.String(text)); err != nil {
			return append(answers, describe(err))
		}
		answer := &wrapperspb.StringValue{}
		if err := stream.RecvMsg(answer); err != nil {
			return append(answers, describe(err))
		}
		answers = append(answers, answer.Value)
	}
	if err := stream.CloseSend(); err != nil {
		return append(answers, describe(err))
	}
	return append(answers, receiveAll(stream)...)
}

func concurrent(ctx context.Context, client *ttrpc.Client, calls int) int {
	var group sync.WaitGroup
	var lock sync.Mutex
	right := 0
	for n := range calls {
		group.Add(1)
		go func() {
			defer group.Done()
			text := fmt.Sprint("n", n)
			if strings.HasPrefix(unary(ctx, client, text), text+" ") {
				lock.Lock()
				right++
				lock.Unlock()
			}
		}()
	}
	group.Wait()
	return right
}

// runServer serves the contract until its standard input ends.
func runServer(path string) error {
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	server.RegisterService(service, &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{"Unary": serveUnary},
		Streams: map[string]ttrpc.Stream{
			"ServerStream": {Handler: serveServerStream, StreamingServer: true},
			"ClientStream": {Handler: serveClientStream, StreamingClient: true},
			"Bidi":         {Handler: serveBidi, StreamingClient: true, StreamingServer: true},
		},
	})
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		server.Close()
	}()
	fmt.Println("ready")
	if err := server.Serve(context.Background(), listener); err != ttrpc.ErrServerClosed {
		return err
	}
	return nil
}

func serveUnary(ctx context.Context, unmarshal func(any) error) (any, error) {
	request := &wrapperspb.StringValue{}
	if err := unmarshal(request); err != nil {
		return nil, err
	}
	if request.Value == "fail" {
		return nil, status.Error(codes.NotFound, "asked to fail")
	}
	if request.Value == "hang" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	id, _ := ttrpc.GetMetadataValue(ctx, "x-request-id")
	token, _ := ttrpc.GetMetadataValue(ctx, "authorization")
	_, deadline := ctx.Deadline()
	return wrapperspb.String(fmt.Sprintf("%s id=%s token=%s deadline=%t", request.Value, id, token, deadline)), nil
}

func serveServerStream(_ context.Context, stream ttrpc.StreamServer) (any, error) {
	request := &wrapperspb.StringValue{}
	if err := stream.RecvMsg(request); err != nil {
		return nil, err
	}
	for _, text := range strings.Split(request.Value, ",") {
		if text == "fail" {
			return nil, status.Error(codes.Aborted, "asked to fail")
		}
		if err := stream.SendMsg(wrapperspb.String(text)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func serveClientStream(_ context.Context, stream ttrpc.StreamServer) (any, error) {
	texts := []string{}
	for {
		message := &wrapperspb.StringValue{}
		err := stream.RecvMsg(message)
		if err == io.EOF {
			return wrapperspb.String(strings.Join(texts, "+")), nil
		}
		if err != nil {
			return nil, err
		}
		texts = append(texts, message.Value)
	}
}

func serveBidi(_ context.Context, stream ttrpc.StreamServer) (any, error) {
	for {
		message := &wrapperspb.StringValue{}
		err := stream.RecvMsg(message)
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if err := stream.SendMsg(wrapperspb.String("re: " + message.Value)); err != nil {
			return nil, err
		}
	}
}
