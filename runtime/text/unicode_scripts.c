// The pre-tokenizer UnicodeScripts: a word is a stretch of one script (Hugging Face tokenizers 0.23, pre_tokenizers/unicode_scripts). Written as one
// regular expression, because PCRE2 knows the scripts of characters.
#include "runtime/base/str.h"
#include "runtime/text/pretokenize.h"
#include "runtime/text/regex.h"

#include <string.h>

// Unicode's names of scripts; one that the installed PCRE2 does not know has no characters there. Common, Han, Hiragana and Katakana have rules of
// their own below.
static const char *const scripts[] = {
    "Latin",
    "Greek",
    "Cyrillic",
    "Armenian",
    "Hebrew",
    "Arabic",
    "Syriac",
    "Thaana",
    "Nko",
    "Samaritan",
    "Mandaic",
    "Devanagari",
    "Bengali",
    "Gurmukhi",
    "Gujarati",
    "Oriya",
    "Tamil",
    "Telugu",
    "Kannada",
    "Malayalam",
    "Sinhala",
    "Thai",
    "Lao",
    "Tibetan",
    "Myanmar",
    "Georgian",
    "Hangul",
    "Ethiopic",
    "Cherokee",
    "Canadian_Aboriginal",
    "Ogham",
    "Runic",
    "Tagalog",
    "Hanunoo",
    "Buhid",
    "Tagbanwa",
    "Khmer",
    "Mongolian",
    "Limbu",
    "Tai_Le",
    "New_Tai_Lue",
    "Buginese",
    "Tai_Tham",
    "Balinese",
    "Sundanese",
    "Batak",
    "Lepcha",
    "Ol_Chiki",
    "Braille",
    "Glagolitic",
    "Coptic",
    "Tifinagh",
    "Bopomofo",
    "Yi",
    "Lisu",
    "Vai",
    "Bamum",
    "Syloti_Nagri",
    "Phags_Pa",
    "Saurashtra",
    "Kayah_Li",
    "Rejang",
    "Javanese",
    "Cham",
    "Tai_Viet",
    "Meetei_Mayek",
    "Inherited",
    "Linear_B",
    "Lycian",
    "Carian",
    "Old_Italic",
    "Gothic",
    "Old_Permic",
    "Ugaritic",
    "Old_Persian",
    "Deseret",
    "Shavian",
    "Osmanya",
    "Osage",
    "Elbasan",
    "Caucasian_Albanian",
    "Linear_A",
    "Cypriot",
    "Imperial_Aramaic",
    "Palmyrene",
    "Nabataean",
    "Hatran",
    "Phoenician",
    "Lydian",
    "Meroitic_Hieroglyphs",
    "Meroitic_Cursive",
    "Kharoshthi",
    "Old_South_Arabian",
    "Old_North_Arabian",
    "Manichaean",
    "Avestan",
    "Inscriptional_Parthian",
    "Inscriptional_Pahlavi",
    "Psalter_Pahlavi",
    "Old_Turkic",
    "Old_Hungarian",
    "Brahmi",
    "Kaithi",
    "Sora_Sompeng",
    "Chakma",
    "Mahajani",
    "Sharada",
    "Khojki",
    "Multani",
    "Khudawadi",
    "Grantha",
    "Newa",
    "Tirhuta",
    "Siddham",
    "Modi",
    "Takri",
    "Ahom",
    "Warang_Citi",
    "Pau_Cin_Hau",
    "Bhaiksuki",
    "Marchen",
    "Cuneiform",
    "Egyptian_Hieroglyphs",
    "Anatolian_Hieroglyphs",
    "Mro",
    "Bassa_Vah",
    "Pahawh_Hmong",
    "Miao",
    "Tangut",
    "Duployan",
    "SignWriting",
    "Mende_Kikakui",
    "Adlam",
};

// A script's first character, and what follows it; a space, or a character that has no script, continues any of them.
static void add_script(mlcc_str *pattern, const char *members) {
    mlcc_str_printf(
        pattern, "%s[%s][%s\\p{Unknown} ]*", pattern->length == 0 ? "" : "|", members, members);
}

mlcc_status *mlcc_pattern_of_scripts(mlcc_pattern *out) {
    mlcc_str pattern = {0};
    // U+30FC is the mark of a long vowel, which Unicode counts as common.
    add_script(&pattern, "\\p{Han}\\p{Hiragana}\\p{Katakana}\\x{30FC}");
    mlcc_str_puts(
        &pattern, "|[\\p{Common}&&[^ \\x{30FC}]][[\\p{Common}&&[^\\x{30FC}]]\\p{Unknown} ]*");
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        if (!mlcc_regex_is_script(scripts[i], strlen(scripts[i]))) continue;
        char members[64] = "\\p{";
        strcat(members, scripts[i]);
        strcat(members, "}");
        add_script(&pattern, members);
    }
    mlcc_status *status = mlcc_pattern_of_regex(pattern.data, pattern.length, out);
    mlcc_str_free(&pattern);
    return status;
}
