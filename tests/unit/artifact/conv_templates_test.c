// Every conversation template, written as gen_config writes it and read as the runtime reads it, renders to its check string: system message
// S, user A, assistant "x</think>\n\nB", user C, then an open answer. The strings are those of MLC LLM's own renderer.
#include "frontend/chat/conv_templates.h"
#include "runtime/text/conversation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// clang-format off
static const struct {
    const char *name, *text;
} expected[] = {
    {"LM", "SAx</think>\n\nBC"},
    {"chatml", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nx</think>\n\nB<|im_end|>\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n"},
    {"chatml_nosystem", "S<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nx</think>\n\nB<|im_end|>\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n"},
    {"aya-23", "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>A<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>x</think>\n\nB<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>C<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"},
    {"deepseek", "SUser: A\n\nAssistant: x</think>\n\nB<｜end▁of▁sentence｜>User: C\n\nAssistant:"},
    {"deepseek_v2", "SUser: A\n\nAssistant: x</think>\n\nB<｜end▁of▁sentence｜>User: C\n\nAssistant:"},
    {"deepseek_v3", "<｜begin▁of▁sentence｜>S<｜User｜>A<｜Assistant｜>x</think>\n\nB<｜end▁of▁sentence｜><｜User｜>C<｜Assistant｜>"},
    {"deepseek_r1_qwen", "<｜begin▁of▁sentence｜>S<｜User｜>A<｜Assistant｜>x</think>\n\nB<｜end▁of▁sentence｜><｜User｜>C<｜Assistant｜>"},
    {"deepseek_r1_llama", "<｜begin▁of▁sentence｜>S<｜User｜>A<｜Assistant｜>x</think>\n\nB<｜end▁of▁sentence｜><｜User｜>C<｜Assistant｜>"},
    {"dolly", "S### Instruction:\nA\n\n### Response:\nx</think>\n\nB### End\n### Instruction:\nC\n\n### Response:\n"},
    {"gemma_instruction", "S<start_of_turn>user\nA<end_of_turn>\n<start_of_turn>model\nx</think>\n\nB<end_of_turn>\n<start_of_turn>user\nC<end_of_turn>\n<start_of_turn>model\n"},
    {"gemma3_instruction", "S<start_of_turn>user\nA<end_of_turn>\n<start_of_turn>model\nx</think>\n\nB<end_of_turn>\n<start_of_turn>user\nC<end_of_turn>\n<start_of_turn>model\n"},
    {"glm", "S问: A\n\n答: x</think>\n\nB\n\n问: C\n\n答:"},
    {"gorilla", "SUSER: <<question>> A <<function>> \nASSISTANT: x</think>\n\nB</s>USER: <<question>> C <<function>> \nASSISTANT:"},
    {"gorilla-openfunctions-v2", "S### Instruction: <<function>>\n<<question>>A\n### Response: x</think>\n\nB<|EOT|>### Instruction: <<function>>\n<<question>>C\n### Response: "},
    {"gpt2", "SAx</think>\n\nBC"},
    {"gpt_bigcode", "SAx</think>\n\nBC"},
    {"open_hermes_mistral", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nx</think>\n\nB<|im_end|>\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n"},
    {"neural_hermes_mistral", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nx</think>\n\nB<|im_end|>\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n"},
    {"hermes2_pro_llama3", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nx</think>\n\nB<|im_end|>\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n"},
    {"hermes3_llama-3_1", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nx</think>\n\nB<|im_end|>\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n"},
    {"llama-4", "<|header_start|>user<|header_end|>\n\nA<|eot|><|header_start|>assistant<|header_end|>\n\nx</think>\n\nB<|eot|><|header_start|>user<|header_end|>\n\nC<|eot|><|header_start|>assistant<|header_end|>\n\n"},
    {"llama-3_1", "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nA<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nx</think>\n\nB<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nC<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
    {"llama-3", "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nA<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nx</think>\n\nB<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nC<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
    {"llama-2", "[INST] <<SYS>>\nS\n<</SYS>>\n\nA [/INST] x</think>\n\nB </s><s>[INST] C [/INST] "},
    {"codellama_completion", "SAx</think>\n\nBC"},
    {"codellama_instruct", "S[INST] A [/INST] x</think>\n\nB [INST] C [/INST] "},
    {"llava", "SA ASSISTANT: x</think>\n\nB USER: C ASSISTANT:"},
    {"llm-jp", "S\n\n### 指示:\nA\n\n### 応答:\nx</think>\n\nB</s>\n\n### 指示:\nC\n\n### 応答:\n"},
    {"ministral3", "[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]A[/INST]x</think>\n\nB</s>[INST]C[/INST]"},
    {"ministral3_reasoning", "[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]A[/INST]x</think>\n\nB</s>[INST]C[/INST]"},
    {"mistral_default", "[INST] SA [/INST] x</think>\n\nB [INST] C [/INST]"},
    {"nemotron", "<extra_id_0>System\nS\n\n<extra_id_1>User\nA\n<extra_id_1>Assistant\nx</think>\n\nB\n<extra_id_1>User\nC\n<extra_id_1>Assistant\n"},
    {"oasst", "S<|prompter|>: A<|endoftext|><|assistant|>: x</think>\n\nB<|endoftext|><|prompter|>: C<|endoftext|><|assistant|>: "},
    {"olmo", "S<|user|>\nA\n<|assistant|>\nx</think>\n\nB\n<|user|>\nC\n<|assistant|>\n"},
    {"olmo2", "<|system|>\nS\n<|user|>\nA<|endoftext|>\n<|assistant|>\nx</think>\n\nB<|endoftext|>\n<|user|>\nC<|endoftext|>\n<|assistant|>\n"},
    {"orion", "SHuman: A\n\nAssistant: x</think>\n\nB</s>Human: C\n\nAssistant: </s>"},
    {"phi-2", "SInstruct: A\nOutput: x</think>\n\nB\nInstruct: C\nOutput:"},
    {"phi-3", "<|system|>\nS<|user|>\nA<|end|>\n<|assistant|>\nx</think>\n\nB<|end|>\n<|user|>\nC<|end|>\n<|assistant|>\n"},
    {"phi-3-vision", "S<|user|>\nA<|end|>\n<|assistant|>\nx</think>\n\nB<|end|>\n<|user|>\nC<|end|>\n<|assistant|>\n"},
    {"phi-4", "<|system|>\nS<|user|>\nA<|end|>\n<|assistant|>\nx</think>\n\nB<|end|>\n<|user|>\nC<|end|>\n<|assistant|>\n"},
    {"qwen2", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nx</think>\n\nB<|im_end|>\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n"},
    {"qwen3", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nB<|im_end|>\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n"},
    {"qwen3_5", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n<think>\nx</think>\n\nB<|im_end|>\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n<think>\n"},
    {"qwen3_5_nothink", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nx</think>\n\nB<|im_end|>\n<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"},
    {"redpajama_chat", "S<human>: A\n<bot>: x</think>\n\nB\n<human>: C\n<bot>:"},
    {"rwkv_world", "User: hi\n\nAssistant: SUser: A\n\nAssistant: x</think>\n\nB\n\nUser: C\n\nAssistant: "},
    {"stablelm", "S<|USER|>: A<|ASSISTANT|>: x</think>\n\nB<|USER|>: C<|ASSISTANT|>: "},
    {"stablelm-3b", "S<|user|>\nA<|endoftext|><|assistant|>\nx</think>\n\nB<|endoftext|><|user|>\nC<|endoftext|><|assistant|>\n"},
    {"stablelm-2", "S<|user|>\nA<|endoftext|><|assistant|>\nx</think>\n\nB<|endoftext|><|user|>\nC<|endoftext|><|assistant|>\n"},
    {"tinyllama_v1_0", "<|system|>\nS</s><|user|>\nA</s><|assistant|>\nx</think>\n\nB</s><|user|>\nC</s><|assistant|>\n"},
    {"wizardlm_7b", "SUser: A###Response: x</think>\n\nB###User: C###Response:"},
    {"wizard_coder_or_math", "SInstruction:\nA\n\n### Response:\nx</think>\n\nB\n\n### Instruction:\nC\n\n### Response:\n"},
};
// clang-format on

static void render(const conv_template *conv, mlcc_arena *keep, char **text) {
    mlcc_str json_text = {0};
    mlcc_json_writer writer;
    mlcc_json_writer_init(&writer, &json_text, 0, true);
    conv_template_write(conv, &writer);
    mlcc_json *json = NULL;
    assert_null(mlcc_json_parse(mlcc_str_text(&json_text), json_text.length, conv->name, 0, &json));
    mlcc_conversation conversation;
    assert_null(mlcc_conversation_read(mlcc_json_root(json), keep, &conversation));
    const mlcc_chat_message messages[] = {
        {.role = "user", .content = {"A", 1}},
        {.role = "assistant", .content = {"x</think>\n\nB", 12}},
        {.role = "user", .content = {"C", 1}}};
    size_t length = 0;
    assert_null(
        mlcc_conversation_render(&conversation, (mlcc_text){"S", 1}, messages, 3, text, &length));
    assert_int_equal(strlen(*text), length);
    mlcc_json_free(json);
    mlcc_str_free(&json_text);
}

static void every_row_renders(void **state) {
    (void)state;
    size_t n_templates = 0;
    const conv_template *table = conv_template_table(&n_templates);
    assert_int_equal(n_templates, sizeof expected / sizeof expected[0]);
    mlcc_arena *keep = mlcc_arena_create();
    for (size_t i = 0; i < n_templates; i++) {
        char *text = NULL;
        assert_string_equal(table[i].name, expected[i].name);
        render(&table[i], keep, &text);
        assert_string_equal(text, expected[i].text);
        free(text);
    }
    mlcc_arena_free(keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_row_renders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
